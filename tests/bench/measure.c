// SPDX-License-Identifier: Apache-2.0
// measure COMMAND ARGUMENT...: runs the command and writes "SECONDS PEAK_MIB" to standard error's
// last line: wall time, and the largest resident set among it and its children.
// Exits with the command's status; 127 when it cannot be started.
#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv) {
  struct timespec begin, end;
  struct rusage usage;
  int status = 0;
  if (argc < 2) return (void)fprintf(stderr, "usage: measure COMMAND ARGUMENT...\n"), 2;
  (void)clock_gettime(CLOCK_MONOTONIC, &begin);
  pid_t child = fork();
  if (child < 0) return (void)fprintf(stderr, "measure: cannot start a process\n"), 127;
  if (child == 0) {
    (void)execvp(argv[1], argv + 1);
    _exit(127);
  }
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) return 127;
  (void)clock_gettime(CLOCK_MONOTONIC, &end);
  (void)getrusage(RUSAGE_CHILDREN, &usage);
  double seconds =
      (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) * 1e-9;
  (void)fprintf(stderr, "%.2f %.0f\n", seconds, (double)usage.ru_maxrss / 1024.0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}
