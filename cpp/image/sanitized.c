// The sanitizers' options in the programs that tests run: see CMakeLists.txt.
const char* __asan_default_options(void);
const char* __asan_default_options(void) { return "detect_leaks=0"; }
