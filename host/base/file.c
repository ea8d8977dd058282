// SPDX-License-Identifier: Apache-2.0
#include "host/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bl_status read_all(int fd, const char *path, uint8_t *bytes, size_t size, bl_error *err) {
  for (size_t done = 0; done < size;) {
    ssize_t n = read(fd, bytes + done, size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return bl_fail(err, BL_ERR_IO, "%s: cannot read: %s", path, strerror(errno));
    if (n == 0) return bl_fail(err, BL_ERR_IO, "%s: became shorter while it was read", path);
    done += (size_t)n;
  }
  return BL_OK;
}

static bl_status read_open(int fd, const char *path, size_t limit, uint8_t **bytes, size_t *size,
                           bl_error *err) {
  struct stat info;
  if (fstat(fd, &info) != 0)
    return bl_fail(err, BL_ERR_IO, "%s: cannot read: %s", path, strerror(errno));
  if (!S_ISREG(info.st_mode)) return bl_fail(err, BL_ERR_IO, "%s: not a regular file", path);
  if ((uint64_t)info.st_size > limit)
    return bl_fail(err, BL_ERR_RANGE, "%s: %lld bytes, more than the limit of %zu", path,
                   (long long)info.st_size, limit);
  *size = (size_t)info.st_size;
  *bytes = malloc(*size + 1);
  if (*bytes == NULL)
    return bl_fail(err, BL_ERR_MEMORY, "%s: no memory for %zu bytes", path, *size);
  bl_status status = read_all(fd, path, *bytes, *size, err);
  if (status != BL_OK) {
    free(*bytes);
    *bytes = NULL;
  }
  return status;
}

bl_status bl_file_read(const char *path, size_t limit, uint8_t **bytes, size_t *size,
                       bl_error *err) {
  *bytes = NULL;
  *size = 0;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return bl_fail(err, BL_ERR_IO, "%s: cannot open: %s", path, strerror(errno));
  bl_status status = read_open(fd, path, limit, bytes, size, err);
  (void)close(fd);
  return status;
}

static bl_status write_all(int fd, const char *path, const uint8_t *bytes, size_t size,
                           bl_error *err) {
  for (size_t done = 0; done < size;) {
    ssize_t n = write(fd, bytes + done, size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return bl_fail(err, BL_ERR_IO, "%s: cannot write: %s", path, strerror(errno));
    done += (size_t)n;
  }
  return BL_OK;
}

bl_status bl_file_write(const char *path, const void *bytes, size_t size, bl_error *err) {
  char temporary[4096];
  int length = snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
  if (length < 0 || (size_t)length >= sizeof temporary)
    return bl_fail(err, BL_ERR_RANGE, "%.100s...: path too long", path);
  int fd = mkstemp(temporary);
  if (fd < 0) return bl_fail(err, BL_ERR_IO, "%s: cannot create: %s", path, strerror(errno));
  mode_t mask = umask(0);
  (void)umask(mask);
  (void)fchmod(fd, 0666 & ~mask);
  bl_status status = write_all(fd, path, bytes, size, err);
  if (close(fd) != 0 && status == BL_OK)
    status = bl_fail(err, BL_ERR_IO, "%s: cannot write: %s", path, strerror(errno));
  if (status == BL_OK && rename(temporary, path) != 0)
    status = bl_fail(err, BL_ERR_IO, "%s: cannot replace: %s", path, strerror(errno));
  if (status != BL_OK) (void)unlink(temporary);
  return status;
}
