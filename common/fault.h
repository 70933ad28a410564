/*
 * fault - named places where a test may stop, delay or end the process.
 *
 * Compiled in with -Dfaults=true only; otherwise a FAULT_POINT is nothing,
 * and the programs hold none of the names (the test fault-release looks).
 *
 * RAPPEL_FAULT="name:action[:nth],..." arms points, nth (1) counts the passes
 * of one process. Actions: kill (SIGKILL), stop (SIGSTOP), abort, delay (one
 * second). With RAPPEL_FAULT_ONCE=FILE a point fires only when it can make
 * that file: so once in all, until the file is removed again, and the file
 * says that it fired. Several processes may share it.
 */
#ifndef COMMON_FAULT_H
#define COMMON_FAULT_H

#ifdef RAPPEL_FAULTS
#define FAULT_POINT(name) fault_point(name)
void fault_point(const char *name);
#else
#define FAULT_POINT(name) ((void)0)
#endif

#endif
