// SPDX-License-Identifier: Apache-2.0
// A data file into memory, inflated where it is gzip. The buffer doubles as bytes arrive, so a
// small file that claims or inflates to much costs no more than the limit.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "host/data/formats.h"

enum { FIRST_BUFFER = 64 << 10, MOST_PER_READ = 1 << 20 };

typedef struct {
  const char *path;
  size_t limit;
  uint8_t *bytes;
  size_t size, capacity;
} growing;

// Room for at least one more byte; one byte past the limit is allowed, to tell that there is more.
static bl_status make_room(growing *buffer, bl_error *err) {
  if (buffer->size < buffer->capacity) return BL_OK;
  size_t capacity = buffer->capacity == 0 ? FIRST_BUFFER : buffer->capacity * 2;
  if (capacity > buffer->limit + 1) capacity = buffer->limit + 1;
  uint8_t *bytes = realloc(buffer->bytes, capacity);
  if (bytes == NULL)
    return bl_fail(err, BL_ERR_MEMORY, "%s: no memory for %zu bytes", buffer->path, capacity);
  buffer->bytes = bytes;
  buffer->capacity = capacity;
  return BL_OK;
}

static bl_status read_error(gzFile stream, const char *path, bl_error *err) {
  int code = Z_OK;
  const char *text = gzerror(stream, &code);
  if (code == Z_ERRNO) return bl_fail(err, BL_ERR_IO, "%s: cannot read: %s", path, strerror(errno));
  if (code == Z_BUF_ERROR) return bl_fail(err, BL_ERR_FORMAT, "%s: the gzip data ends early", path);
  return bl_fail(err, BL_ERR_FORMAT, "%s: damaged gzip data: %s", path, text);
}

static bl_status read_stream(gzFile stream, growing *buffer, bl_error *err) {
  for (;;) {
    BL_TRY(make_room(buffer, err));
    size_t want = buffer->capacity - buffer->size;
    if (want > MOST_PER_READ) want = MOST_PER_READ;
    int got = gzread(stream, buffer->bytes + buffer->size, (unsigned)want);
    if (got < 0) return read_error(stream, buffer->path, err);
    buffer->size += (size_t)got;
    if (buffer->size > buffer->limit)
      return bl_fail(err, BL_ERR_RANGE, "%s: holds more than the limit of %zu bytes", buffer->path,
                     buffer->limit);
    if ((size_t)got < want) break;
  }
  int code = Z_OK;
  (void)gzerror(stream, &code);
  return code == Z_OK ? BL_OK : read_error(stream, buffer->path, err);
}

static bl_status open_stream(const char *path, size_t limit, gzFile *stream, bl_error *err) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return bl_fail(err, BL_ERR_IO, "%s: cannot open: %s", path, strerror(errno));
  struct stat info;
  bl_status status = BL_OK;
  if (fstat(fd, &info) != 0)
    status = bl_fail(err, BL_ERR_IO, "%s: cannot read: %s", path, strerror(errno));
  else if (!S_ISREG(info.st_mode))
    status = bl_fail(err, BL_ERR_IO, "%s: not a regular file", path);
  else if ((uint64_t)info.st_size > limit)
    status = bl_fail(err, BL_ERR_RANGE, "%s: %lld bytes, more than the limit of %zu", path,
                     (long long)info.st_size, limit);
  else if ((*stream = gzdopen(fd, "rb")) == NULL)
    status = bl_fail(err, BL_ERR_MEMORY, "%s: no memory to read it", path);
  if (status != BL_OK) (void)close(fd);
  return status;
}

bl_status bl_data_slurp(const char *path, size_t limit, uint8_t **bytes, size_t *size,
                        bl_error *err) {
  *bytes = NULL;
  *size = 0;
  gzFile stream = NULL;
  BL_TRY(open_stream(path, limit, &stream, err));
  growing buffer = {.path = path, .limit = limit};
  bl_status status = read_stream(stream, &buffer, err);
  (void)gzclose_r(stream);
  if (status != BL_OK) {
    free(buffer.bytes);
    return status;
  }
  *bytes = buffer.bytes;
  *size = buffer.size;
  return BL_OK;
}
