"""The judge: what every card should come to, told a second time and as simply as possible."""
