"""The whole line under fire: processes killed and frozen, engines shot, WeChat lying, on real engines."""
