// Nothing is kept here: an independent subpackage may run without the app.
App({})
