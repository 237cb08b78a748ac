"""A stand-in for WeChat's servers, with faults on demand, and a page that shows the chat."""
