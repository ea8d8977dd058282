// SPDX-License-Identifier: Apache-2.0
#include "host/report/plot.h"

#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/base/file.h"

enum { PATH_ROOM = 512, SVG_LIMIT = 16 << 20 };

extern char **environ;

struct bl_plots {
  char folder[PATH_ROOM - 64];
  FILE *script;
  uint32_t count;
};

static void path_of(const bl_plots *plots, const char *name, char *path) {
  (void)snprintf(path, PATH_ROOM, "%s/%s", plots->folder, name);
}

bl_status bl_plots_open(bl_plots **plots, bl_error *err) {
  char path[PATH_ROOM];
  const char *temporary = getenv("TMPDIR");
  bl_plots *p = *plots = calloc(1, sizeof *p);
  if (p == NULL) return bl_fail(err, BL_ERR_MEMORY, "report: no memory");
  (void)snprintf(p->folder, sizeof p->folder, "%.400s/bitloom-XXXXXX",
                 temporary != NULL ? temporary : "/tmp");
  if (mkdtemp(p->folder) != NULL) {
    path_of(p, "script", path);
    p->script = fopen(path, "w");
    if (p->script != NULL) return BL_OK;
  }
  bl_status status =
      bl_fail(err, BL_ERR_IO, "report: no temporary folder %s: %s", p->folder, strerror(errno));
  bl_plots_close(p);
  *plots = NULL;
  return status;
}

void bl_plots_close(bl_plots *plots) {
  char path[PATH_ROOM], name[32];
  if (plots == NULL) return;
  if (plots->script != NULL) (void)fclose(plots->script);
  for (uint32_t k = 0; k < plots->count; k++) {
    (void)snprintf(name, sizeof name, "%u.svg", (unsigned)k);
    path_of(plots, name, path);
    (void)unlink(path);
  }
  path_of(plots, "script", path);
  (void)unlink(path);
  (void)rmdir(plots->folder);
  free(plots);
}

FILE *bl_plot_begin(bl_plots *plots, unsigned width, unsigned height, uint32_t *index) {
  *index = plots->count++;
  (void)fprintf(plots->script,
                "reset\nset terminal svg size %u,%u dynamic name 'p%u' font 'system-ui,12'\n"
                "set output '%u.svg'\nset border 3 lc rgb " BL_LINE "\nset tics nomirror textcolor "
                "rgb " BL_INK "\nset key textcolor rgb " BL_INK " outside top center horizontal\n"
                "set grid ytics lt 1 lc rgb " BL_LINE "\n",
                width, height, (unsigned)*index, (unsigned)*index);
  return plots->script;
}

// Starts gnuplot in the folder, silent; false where there is none.
static bool start(const bl_plots *plots, pid_t *pid) {
  static char program[] = "gnuplot", plain[] = "-d", script[] = "script";
  char *arguments[] = {program, plain, script, NULL};
  posix_spawn_file_actions_t actions;
  if (posix_spawn_file_actions_init(&actions) != 0) return false;
  bool ready = posix_spawn_file_actions_addchdir_np(&actions, plots->folder) == 0 &&
               posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", 0, 0) == 0 &&
               posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", 1, 0) == 0 &&
               posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", 1, 0) == 0;
  ready = ready && posix_spawnp(pid, program, &actions, NULL, arguments, environ) == 0;
  (void)posix_spawn_file_actions_destroy(&actions);
  return ready;
}

bl_status bl_plots_draw(bl_plots *plots, bool *drawn, bl_error *err) {
  pid_t pid;
  int state = 0;
  bool failed = ferror(plots->script) != 0;
  failed = fclose(plots->script) != 0 || failed;
  plots->script = NULL;
  *drawn = false;
  if (failed) return bl_fail(err, BL_ERR_IO, "report: cannot write a temporary file");
  if (plots->count == 0 || !start(plots, &pid)) return BL_OK;
  while (waitpid(pid, &state, 0) < 0)
    if (errno != EINTR) return bl_fail(err, BL_ERR_IO, "report: gnuplot: %s", strerror(errno));
  if (WIFEXITED(state) && WEXITSTATUS(state) == 127) return BL_OK;
  if (!WIFEXITED(state) || WEXITSTATUS(state) != 0)
    return bl_fail(err, BL_ERR_IO, "report: gnuplot ended with status %d", state);
  *drawn = true;
  return BL_OK;
}

// ---- Into the page

// What gnuplot writes for a colour, with spaces or without, and its role.
static const struct {
  int blue;
  const char *role;
} roles[] = {{3, "ink"}, {4, "line"}, {16, "c0"}, {17, "c1"}, {18, "c2"}, {19, "c3"}};

// The length of "rgb(1,2,n)" at `text`, with its role; 0: it is something else.
static size_t colour_at(const char *text, const char **role) {
  int red, green, blue, length = 0;
  if (strncmp(text, "rgb(", 4) != 0 ||
      sscanf(text, "rgb(%3d,%3d,%3d)%n", &red, &green, &blue, &length) != 3 || length == 0 ||
      red != 1 || green != 2)
    return 0;
  for (size_t k = 0; k < sizeof roles / sizeof roles[0]; k++)
    if (roles[k].blue == blue) {
      *role = roles[k].role;
      return (size_t)length;
    }
  return 0;
}

// The length of a group without anything in it.
static size_t empty_group(const char *text) {
  if (strncmp(text, "<g ", 3) != 0) return 0;
  const char *end = strchr(text, '>');
  return end != NULL && strncmp(end, ">\n</g>\n", 7) == 0 ? (size_t)(end + 7 - text) : 0;
}

// A name space, which an element of a page does not need, and which looks like an address.
static size_t name_space(const char *text) {
  if (strncmp(text, " xmlns", 6) != 0) return 0;
  const char *end = strchr(text, '\n');
  return end != NULL ? (size_t)(end - text) : 0;
}

static void put_clean(const char *svg, FILE *out) {
  for (const char *at = svg; *at != '\0';) {
    const char *role = NULL;
    size_t skip = empty_group(at);
    if (skip == 0) skip = name_space(at);
    if (skip == 0 && (skip = colour_at(at, &role)) > 0) (void)fprintf(out, "var(--%s)", role);
    if (skip == 0) {
      (void)fputc(*at, out);
      skip = 1;
    }
    at += skip;
  }
}

bl_status bl_plots_put(bl_plots *plots, uint32_t index, FILE *out, bl_error *err) {
  char path[PATH_ROOM], name[32];
  uint8_t *bytes;
  size_t size;
  (void)snprintf(name, sizeof name, "%u.svg", (unsigned)index);
  path_of(plots, name, path);
  BL_TRY(bl_file_read(path, SVG_LIMIT, &bytes, &size, err));
  char *text = malloc(size + 1);
  if (text == NULL) {
    free(bytes);
    return bl_fail(err, BL_ERR_MEMORY, "report: no memory");
  }
  memcpy(text, bytes, size);
  text[size] = '\0';
  free(bytes);
  const char *element = strstr(text, "<svg");
  if (element != NULL) put_clean(element, out);
  free(text);
  return element != NULL ? BL_OK : bl_fail(err, BL_ERR_IO, "report: gnuplot made no picture");
}
