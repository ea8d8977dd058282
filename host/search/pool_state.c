// SPDX-License-Identifier: Apache-2.0
// Results as lines of JSON. Numbers are written so that they read back as the same doubles;
// infinite cycles are null.
#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/file.h"
#include "host/search/pool_internal.h"

enum { STATE_MOST_BYTES = 256 << 20 };

static const struct {
  const char *name;
  size_t field;
} fields[] = {
    {"cycles", offsetof(bl_search_result, cycles)},
    {"bytes", offsetof(bl_search_result, bytes)},
    {"loss", offsetof(bl_search_result, loss)},
    {"accuracy", offsetof(bl_search_result, accuracy)},
    {"sqnr", offsetof(bl_search_result, sqnr)},
};
enum { FIELDS = sizeof fields / sizeof fields[0] };

void bl_search_result_add(cJSON *object, const bl_search_result *result) {
  for (size_t k = 0; k < FIELDS; k++) {
    double value;
    char text[40];
    memcpy(&value, (const char *)result + fields[k].field, sizeof value);
    (void)snprintf(text, sizeof text, "%.17g", value);
    if (isfinite(value))
      (void)cJSON_AddRawToObject(object, fields[k].name, text);
    else
      (void)cJSON_AddNullToObject(object, fields[k].name);
  }
}

bool bl_search_result_read(const cJSON *object, bl_search_result *result) {
  for (size_t k = 0; k < FIELDS; k++) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, fields[k].name);
    if (!cJSON_IsNumber(item) && !cJSON_IsNull(item)) return false;
    const double value = cJSON_IsNumber(item) ? item->valuedouble : INFINITY;
    memcpy((char *)result + fields[k].field, &value, sizeof value);
  }
  return true;
}

char *bl_search_result_text(const bl_search_plan *plan, const bl_search_result *result) {
  char *said = bl_search_plan_text(plan);
  cJSON *object = cJSON_CreateObject();
  (void)cJSON_AddRawToObject(object, "plan", said == NULL ? "" : said);
  bl_search_result_add(object, result);
  char *text = said == NULL ? NULL : cJSON_PrintUnformatted(object);
  cJSON_Delete(object);
  free(said);
  return text;
}

static bl_status write_line(bl_pool *pool, cJSON *object, bl_error *err) {
  char *text = cJSON_PrintUnformatted(object);
  cJSON_Delete(object);
  const bool written =
      text != NULL && fprintf(pool->file, "%s\n", text) > 0 && fflush(pool->file) == 0;
  free(text);
  return written ? BL_OK
                 : bl_fail(err, BL_ERR_IO, "%s: cannot write: %s", pool->options.state,
                           strerror(errno));
}

bl_status bl_pool_record(bl_pool *pool, const uint8_t *choice, const bl_search_result *result,
                         bl_error *err) {
  char *key = malloc(pool->options.space->count + 1u);
  if (key == NULL) return bl_fail(err, BL_ERR_MEMORY, "search: no memory for a candidate");
  bl_pool_key(pool, choice, key);
  bl_status status = bl_pool_keep(pool, key, result, err);
  if (status == BL_OK && pool->file != NULL) {
    cJSON *object = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(object, "key", key);
    bl_search_result_add(object, result);
    status = write_line(pool, object, err);
  }
  free(key);
  return status;
}

// All values of all knobs as one number (FNV-1a), so that a file of another space is found out.
static uint64_t space_digest(const bl_space *space) {
  uint64_t digest = 14695981039346656037u;
  for (uint32_t k = 0; k < space->count; k++) {
    char text[40];
    const bl_knob *knob = &space->knobs[k];
    for (const char *at = knob->layer; *at != '\0'; at++)
      digest = (digest ^ (unsigned char)*at) * 1099511628211u;
    for (uint32_t i = 0; i < knob->count; i++) {
      (void)snprintf(text, sizeof text, "%d:%.17g,", (int)knob->kind, knob->values[i]);
      for (const char *at = text; *at != '\0'; at++)
        digest = (digest ^ (unsigned char)*at) * 1099511628211u;
    }
  }
  return digest;
}

static cJSON *header_of(const bl_pool *pool) {
  char digest[20];
  const bl_pool_options *o = &pool->options;
  (void)snprintf(digest, sizeof digest, "%016llx", (unsigned long long)space_digest(o->space));
  cJSON *object = cJSON_CreateObject();
  (void)cJSON_AddNumberToObject(object, "bitloom-search", 1);
  (void)cJSON_AddStringToObject(object, "of", o->fingerprint == NULL ? "" : o->fingerprint);
  (void)cJSON_AddStringToObject(object, "space", digest);
  return object;
}

// What a search leaves that is stopped while it writes its first line.
static bool begins_header(const bl_pool *pool, const uint8_t *bytes, size_t size) {
  cJSON *object = header_of(pool);
  char *text = cJSON_PrintUnformatted(object);
  const bool begins =
      text != NULL && size <= strlen(text) && (size == 0 || memcmp(bytes, text, size) == 0);
  cJSON_Delete(object);
  free(text);
  return begins;
}

static bl_status no_search(const bl_pool *pool, bl_error *err) {
  return bl_fail(err, BL_ERR_FORMAT, "%s: no file of a search; name another", pool->options.state);
}

static bl_status take_header(const bl_pool *pool, const cJSON *line, bl_error *err) {
  if (cJSON_GetObjectItemCaseSensitive(line, "bitloom-search") == NULL) return no_search(pool, err);
  cJSON *wanted = header_of(pool);
  const bool same = cJSON_Compare(line, wanted, true) != 0;
  cJSON_Delete(wanted);
  if (same) return BL_OK;
  return bl_fail(err, BL_ERR_USAGE,
                 "%s: of another network, other data or other choices; name another file, or "
                 "remove it",
                 pool->options.state);
}

static bl_status take_line(bl_pool *pool, const cJSON *line, unsigned number, bl_error *err) {
  if (number == 1) return take_header(pool, line, err);
  const cJSON *key = cJSON_GetObjectItemCaseSensitive(line, "key");
  bl_search_result result;
  if (!cJSON_IsString(key) || strlen(key->valuestring) != pool->options.space->count ||
      !bl_search_result_read(line, &result))
    return bl_fail(err, BL_ERR_FORMAT, "%s line %u: no result of a candidate", pool->options.state,
                   number);
  if (bl_pool_known(pool, key->valuestring) != NULL) return BL_OK;
  return bl_pool_keep(pool, key->valuestring, &result, err);
}

// Takes all whole lines; *whole: bytes of them.
static bl_status take_lines(bl_pool *pool, char *text, size_t size, size_t *whole, bl_error *err) {
  unsigned number = 0;
  *whole = 0;
  while (*whole < size) {
    char *line = text + *whole, *end = memchr(line, '\n', size - *whole);
    if (end == NULL) return BL_OK; // the search was stopped while it wrote it
    *end = '\0';
    cJSON *object = cJSON_Parse(line);
    bl_status status = take_line(pool, object, ++number, err);
    cJSON_Delete(object);
    BL_TRY(status);
    *end = '\n';
    *whole = (size_t)(end - text) + 1;
  }
  return BL_OK;
}

bl_status bl_pool_read_state(bl_pool *pool, bl_error *err) {
  const char *path = pool->options.state;
  if (path == NULL) return BL_OK;
  uint8_t *bytes = NULL;
  size_t size = 0, whole = 0;
  FILE *there = fopen(path, "rb");
  if (there != NULL) {
    (void)fclose(there);
    BL_TRY(bl_file_read(path, STATE_MOST_BYTES, &bytes, &size, err));
  }
  bl_status status = take_lines(pool, (char *)bytes, size, &whole, err);
  if (status == BL_OK && whole == 0 && !begins_header(pool, bytes, size))
    status = no_search(pool, err);
  if (status == BL_OK && whole < size) status = bl_file_write(path, bytes, whole, err);
  free(bytes);
  BL_TRY(status);
  pool->file = fopen(path, "ab");
  if (pool->file == NULL)
    return bl_fail(err, BL_ERR_IO, "%s: cannot write: %s", path, strerror(errno));
  return whole > 0 ? BL_OK : write_line(pool, header_of(pool), err);
}
