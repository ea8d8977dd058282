// SPDX-License-Identifier: Apache-2.0
#include "host/report/plot.h"

#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/base/file.h"

enum { PATH_ROOM = 512, NAME_ROOM = 16, SVG_LIMIT = 16 << 20, MARK = 1 };

extern char **environ;

// Scripts lie one behind the other, each behind a mark.
struct bl_plots {
  char folder[PATH_ROOM - 64];
  FILE *script;
  char *text;
  size_t size;
  uint32_t count;
};

static void path_of(const bl_plots *plots, uint32_t index, const char *kind, char *path) {
  (void)snprintf(path, PATH_ROOM, "%s/%u.%s", plots->folder, (unsigned)index, kind);
}

bl_status bl_plots_open(bl_plots **plots, bl_error *err) {
  const char *temporary = getenv("TMPDIR");
  bl_plots *p = *plots = calloc(1, sizeof *p);
  if (p == NULL || (p->script = open_memstream(&p->text, &p->size)) == NULL) {
    free(p);
    *plots = NULL;
    return bl_fail(err, BL_ERR_MEMORY, "report: no memory");
  }
  (void)snprintf(p->folder, sizeof p->folder, "%.400s/bitloom-XXXXXX",
                 temporary != NULL ? temporary : "/tmp");
  if (mkdtemp(p->folder) != NULL) return BL_OK;
  bl_status status =
      bl_fail(err, BL_ERR_IO, "report: no temporary folder %s: %s", p->folder, strerror(errno));
  bl_plots_close(p);
  *plots = NULL;
  return status;
}

void bl_plots_close(bl_plots *plots) {
  char path[PATH_ROOM];
  if (plots == NULL) return;
  if (plots->script != NULL) (void)fclose(plots->script);
  for (uint32_t k = 0; k < plots->count; k++) {
    path_of(plots, k, "svg", path);
    (void)unlink(path);
    path_of(plots, k, "gp", path);
    (void)unlink(path);
  }
  (void)rmdir(plots->folder);
  free(plots->text);
  free(plots);
}

FILE *bl_plot_begin(bl_plots *plots, unsigned width, unsigned height, uint32_t *index) {
  *index = plots->count++;
  (void)fprintf(plots->script,
                "%creset\nset terminal svg size %u,%u dynamic name 'p%u' font 'system-ui,12'\n"
                "set output '%u.svg'\nset border 3 lc rgb " BL_LINE "\nset tics nomirror textcolor "
                "rgb " BL_INK "\nset key textcolor rgb " BL_INK " outside top center horizontal\n"
                "set grid ytics lt 1 lc rgb " BL_LINE "\n",
                MARK, width, height, (unsigned)*index, (unsigned)*index);
  return plots->script;
}

static bl_status write_scripts(const bl_plots *plots, bl_error *err) {
  char path[PATH_ROOM];
  const char *at = plots->text;
  for (uint32_t k = 0; k < plots->count; k++) {
    const char *begin = strchr(at, MARK) + 1, *end = strchr(begin, MARK);
    const size_t length = end != NULL ? (size_t)(end - begin) : strlen(begin);
    path_of(plots, k, "gp", path);
    BL_TRY(bl_file_write(path, begin, length, err));
    at = begin + length;
  }
  return BL_OK;
}

// Starts gnuplot in the folder, silent, with all scripts from `first` on; false where there is
// none.
static bool start(const bl_plots *plots, uint32_t first, char (*names)[NAME_ROOM], char **arguments,
                  pid_t *pid) {
  static char program[] = "gnuplot", plain[] = "-d";
  size_t count = 0;
  arguments[count++] = program;
  arguments[count++] = plain;
  for (uint32_t k = first; k < plots->count; k++) {
    (void)snprintf(names[k], NAME_ROOM, "%u.gp", (unsigned)k);
    arguments[count++] = names[k];
  }
  arguments[count] = NULL;
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

// The picture's text; NULL where gnuplot did not finish it.
static char *picture(const bl_plots *plots, uint32_t index) {
  char path[PATH_ROOM];
  uint8_t *bytes;
  size_t size;
  bl_error ignored = {0};
  path_of(plots, index, "svg", path);
  if (bl_file_read(path, SVG_LIMIT, &bytes, &size, &ignored) != BL_OK) return NULL;
  char *text = strndup((const char *)bytes, size);
  free(bytes);
  if (text != NULL && strstr(text, "<svg") != NULL && strstr(text, "</svg>") != NULL) return text;
  free(text);
  return NULL;
}

// The first picture from `first` on that is not there.
static uint32_t missing(const bl_plots *plots, uint32_t first) {
  for (; first < plots->count; first++) {
    char *text = picture(plots, first);
    if (text == NULL) break;
    free(text);
  }
  return first;
}

// gnuplot ends at data that it cannot draw, such as a range beyond all numbers: it is started again
// behind that picture.
static bl_status draw_from(const bl_plots *plots, uint32_t first, char (*names)[NAME_ROOM],
                           char **arguments, bool *drawn, bl_error *err) {
  while (first < plots->count) {
    pid_t pid;
    int state = 0;
    if (!start(plots, first, names, arguments, &pid)) return BL_OK;
    while (waitpid(pid, &state, 0) < 0)
      if (errno != EINTR) return bl_fail(err, BL_ERR_IO, "report: gnuplot: %s", strerror(errno));
    if (WIFEXITED(state) && WEXITSTATUS(state) == 127) return BL_OK;
    *drawn = true;
    if (WIFEXITED(state) && WEXITSTATUS(state) == 0) return BL_OK;
    first = missing(plots, first) + 1;
  }
  return BL_OK;
}

bl_status bl_plots_draw(bl_plots *plots, bool *drawn, bl_error *err) {
  bool failed = ferror(plots->script) != 0;
  failed = fclose(plots->script) != 0 || failed;
  plots->script = NULL;
  *drawn = plots->count == 0;
  if (failed) return bl_fail(err, BL_ERR_MEMORY, "report: no memory");
  if (plots->count == 0) return BL_OK;
  char(*names)[NAME_ROOM] = calloc(plots->count, sizeof *names);
  char **arguments = calloc(plots->count + 3u, sizeof(char *));
  bl_status status = names == NULL || arguments == NULL
                         ? bl_fail(err, BL_ERR_MEMORY, "report: no memory")
                         : write_scripts(plots, err);
  if (status == BL_OK) status = draw_from(plots, 0, names, arguments, drawn, err);
  free(names);
  free(arguments);
  return status;
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

void bl_plots_put(const bl_plots *plots, uint32_t index, FILE *out) {
  char *text = picture(plots, index);
  if (text != NULL)
    put_clean(strstr(text, "<svg"), out);
  else
    (void)fputs("<p class=\"note\">These data cannot be drawn.</p>", out);
  free(text);
}
