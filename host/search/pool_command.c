// SPDX-License-Identifier: Apache-2.0
// The command reads plans from a file that it gets as standard input, and its lines are taken as
// they come, so that one that is stopped leaves its results in the state.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/search/pool_internal.h"

typedef struct {
  bl_pool *pool;
  const uint8_t *choices;
  const uint32_t *order;
  uint32_t count, taken;
  cJSON **plans; // [count] what each candidate says; NULL: its result is there
} job;

static bl_status write_plan(job *j, uint32_t at, FILE *input, bl_error *err) {
  const bl_space *space = j->pool->options.space;
  bl_arena *arena = bl_arena_new(BL_SPACE_MOST_BYTES);
  if (arena == NULL) return bl_fail(err, BL_ERR_MEMORY, "search: no memory for a plan");
  bl_search_plan plan;
  bl_status status =
      bl_space_plan(space, j->choices + (size_t)j->order[at] * space->count, arena, &plan, err);
  char *text = status == BL_OK ? bl_search_plan_text(&plan) : NULL;
  bl_arena_free(arena);
  j->plans[at] = text == NULL ? NULL : cJSON_Parse(text);
  const bool written = j->plans[at] != NULL && fprintf(input, "%s\n", text) > 0;
  free(text);
  if (status == BL_OK && !written)
    status = bl_fail(err, BL_ERR_IO, "search: cannot write the plans for the command");
  return status;
}

static bl_status take(job *j, const char *line, bl_error *err) {
  cJSON *object = cJSON_Parse(line);
  const cJSON *plan = cJSON_GetObjectItemCaseSensitive(object, "plan");
  bl_search_result result;
  bl_status status = BL_OK;
  if (plan == NULL || !bl_search_result_read(object, &result)) {
    status = bl_fail(err, BL_ERR_FORMAT, "search: the command printed '%.80s', which is no result",
                     line);
    plan = NULL;
  }
  for (uint32_t k = 0; plan != NULL && k < j->count; k++) {
    if (j->plans[k] == NULL || cJSON_Compare(plan, j->plans[k], true) == 0) continue;
    cJSON_Delete(j->plans[k]);
    j->plans[k] = NULL;
    j->taken++;
    const bl_pool_options *o = &j->pool->options;
    status =
        bl_pool_record(j->pool, j->choices + (size_t)j->order[k] * o->space->count, &result, err);
    if (o->progress.step != NULL) o->progress.step(o->progress.user, j->taken, j->count);
    break;
  }
  cJSON_Delete(object);
  return status;
}

static bl_status read_answers(job *j, FILE *answers, bl_error *err) {
  char *line = NULL;
  size_t room = 0;
  bl_status status = BL_OK;
  while (status == BL_OK && getline(&line, &room, answers) >= 0)
    if (strspn(line, " \t\r\n") != strlen(line)) status = take(j, line, err);
  free(line);
  return status;
}

static bl_status verdict(const job *j, int ended, bl_error *err) {
  if (ended != 0)
    return bl_fail(err, BL_ERR_DEVICE, "search: the command that evaluates failed: %.200s",
                   j->pool->options.command);
  for (uint32_t k = 0; k < j->count; k++) {
    if (j->plans[k] == NULL) continue;
    char *text = cJSON_PrintUnformatted(j->plans[k]);
    bl_status status = bl_fail(err, BL_ERR_DEVICE, "search: the command gave no result for %.200s",
                               text == NULL ? "a plan" : text);
    free(text);
    return status;
  }
  return BL_OK;
}

// `sh -c command` with the plans as its standard input.
static bl_status run(job *j, FILE *input, bl_error *err) {
  int ends[2];
  (void)fflush(NULL);
  if (pipe(ends) != 0) return bl_fail(err, BL_ERR_IO, "search: no pipe: %s", strerror(errno));
  const pid_t pid = fork();
  if (pid == 0) {
    (void)dup2(fileno(input), STDIN_FILENO);
    (void)dup2(ends[1], STDOUT_FILENO);
    (void)close(ends[0]);
    (void)close(ends[1]);
    (void)lseek(STDIN_FILENO, 0, SEEK_SET);
    (void)execl("/bin/sh", "sh", "-c", j->pool->options.command, (char *)NULL);
    _exit(127);
  }
  (void)close(ends[1]);
  FILE *answers = pid < 0 ? NULL : fdopen(ends[0], "r");
  bl_status status = answers == NULL ? bl_fail(err, BL_ERR_IO, "search: cannot start the command")
                                     : read_answers(j, answers, err);
  if (answers != NULL)
    (void)fclose(answers);
  else
    (void)close(ends[0]);
  int ended = 0;
  while (pid > 0 && waitpid(pid, &ended, 0) < 0 && errno == EINTR) {
  }
  return status != BL_OK ? status : verdict(j, ended, err);
}

bl_status bl_pool_command(bl_pool *pool, const uint8_t *choices, const uint32_t *order,
                          uint32_t count, bl_error *err) {
  job j = {pool, choices, order, count, 0, calloc(count, sizeof(cJSON *))};
  FILE *input = tmpfile();
  bl_status status = j.plans == NULL || input == NULL
                         ? bl_fail(err, BL_ERR_IO, "search: no room for the plans")
                         : BL_OK;
  for (uint32_t k = 0; k < count && status == BL_OK; k++)
    status = write_plan(&j, k, input, err);
  if (status == BL_OK) status = run(&j, input, err);
  for (uint32_t k = 0; k < count && j.plans != NULL; k++)
    cJSON_Delete(j.plans[k]);
  free(j.plans);
  if (input != NULL) (void)fclose(input);
  return status;
}
