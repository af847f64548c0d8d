const char *plugin_name(void);
const char *plugin_name(void) { return "a plugin"; }
