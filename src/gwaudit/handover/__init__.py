"""An audit in the tools that people use: a module a tool, and `formats` with all of them."""
