/* A library of the driver that tests only look for: it has a name, a version and nothing else. */
const char gpuprep_substitute_of[] = SONAME " " VERSION;
