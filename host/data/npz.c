// SPDX-License-Identifier: Apache-2.0
// NPZ, a zip archive of NPY files. Reads the central directory, which has the true sizes, and
// inflates one member into exactly the memory its entry promises, never beyond the limit. Zip64,
// encryption and methods other than stored and deflated are refused by name.
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "host/data/formats.h"

enum {
  END_SIZE = 22,        // end of central directory without its comment
  END_COMMENT = 0xFFFF, // longest comment
  ENTRY_SIZE = 46,      // central directory entry without its variable part
  LOCAL_SIZE = 30,      // local header without its variable part
  METHOD_STORED = 0,
  METHOD_DEFLATED = 8,
  MOST_INFLATION = 1032 // deflate cannot expand a byte to more
};

typedef struct {
  const char *name;
  size_t name_length;
  uint32_t method, flags, crc;
  size_t packed, size, local;
} member;

static uint32_t u16(const uint8_t *bytes) {
  return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8;
}

static uint32_t u32(const uint8_t *bytes) {
  return u16(bytes) | u16(bytes + 2) << 16;
}

bool bl_npz_recognise(const bl_data_file *file) {
  return file->size >= 4 && (u32(file->bytes) == 0x04034b50u || u32(file->bytes) == 0x06054b50u);
}

static bl_status bad(const bl_data_file *file, const char *what, bl_error *err) {
  return bl_fail(err, BL_ERR_FORMAT, "%s: NPZ archive: %s", file->path, what);
}

// A record with the right signature whose comment reaches exactly to the end of the file.
static bool is_end_record(const bl_data_file *file, size_t at) {
  const uint8_t *record = file->bytes + at;
  return u32(record) == 0x06054b50u && u16(record + 20) == file->size - at - END_SIZE;
}

// The record at the archive's end, searched backwards past a comment.
static bl_status find_directory(const bl_data_file *file, size_t *offset, size_t *end,
                                uint32_t *count, bl_error *err) {
  if (file->size < END_SIZE) return bad(file, "ends early", err);
  size_t at = file->size - END_SIZE;
  size_t lowest = at > END_COMMENT ? at - END_COMMENT : 0;
  while (!is_end_record(file, at))
    if (at-- == lowest) return bad(file, "no central directory (truncated?)", err);
  const uint8_t *record = file->bytes + at;
  *count = u16(record + 10);
  size_t size = u32(record + 12);
  *offset = u32(record + 16);
  if (*count == 0) return bad(file, "is empty", err);
  if (*offset > at || size > at - *offset) return bad(file, "directory beyond the file", err);
  *end = *offset + size;
  return BL_OK;
}

static bl_status read_entry(const bl_data_file *file, size_t *offset, size_t end, member *entry,
                            bl_error *err) {
  if (end - *offset < ENTRY_SIZE) return bad(file, "directory entry ends early", err);
  const uint8_t *bytes = file->bytes + *offset;
  if (u32(bytes) != 0x02014b50u) return bad(file, "damaged directory entry", err);
  *entry = (member){.name = (const char *)bytes + ENTRY_SIZE,
                    .name_length = u16(bytes + 28),
                    .flags = u16(bytes + 8),
                    .method = u16(bytes + 10),
                    .crc = u32(bytes + 16),
                    .packed = u32(bytes + 20),
                    .size = u32(bytes + 24),
                    .local = u32(bytes + 42)};
  size_t length = ENTRY_SIZE + entry->name_length + u16(bytes + 30) + u16(bytes + 32);
  if (length > end - *offset) return bad(file, "directory entry ends early", err);
  *offset += length;
  return BL_OK;
}

// "x" and "x.npy" both name the member x.npy.
static bool is_named(const member *entry, const char *name) {
  size_t length = strlen(name);
  if (entry->name_length < length || memcmp(entry->name, name, length) != 0) return false;
  size_t rest = entry->name_length - length;
  return rest == 0 || (rest == 4 && memcmp(entry->name + length, ".npy", 4) == 0);
}

static bl_status find_member(const bl_data_file *file, const char *name, member *found,
                             bl_error *err) {
  size_t offset = 0, end = 0;
  uint32_t count = 0;
  BL_TRY(find_directory(file, &offset, &end, &count, err));
  for (uint32_t i = 0; i < count; i++) {
    BL_TRY(read_entry(file, &offset, end, found, err));
    if (name == NULL || is_named(found, name)) return BL_OK;
  }
  return bl_fail(err, BL_ERR_USAGE, "%s: no array named \"%s\" among its %u", file->path, name,
                 (unsigned)count);
}

// The member's packed bytes, behind its local header.
static bl_status locate(const bl_data_file *file, const member *entry, const uint8_t **packed,
                        bl_error *err) {
  if ((entry->flags & 1) != 0) return bad(file, "is encrypted", err);
  if (entry->method != METHOD_STORED && entry->method != METHOD_DEFLATED)
    return bl_fail(err, BL_ERR_UNSUPPORTED, "%s: NPZ archive: compression method %u is not read",
                   file->path, (unsigned)entry->method);
  if (entry->packed == UINT32_MAX || entry->size == UINT32_MAX || entry->local == UINT32_MAX)
    return bl_fail(err, BL_ERR_UNSUPPORTED, "%s: NPZ archive: Zip64 members are not read",
                   file->path);
  if (entry->local > file->size || file->size - entry->local < LOCAL_SIZE)
    return bad(file, "member beyond the file", err);
  const uint8_t *local = file->bytes + entry->local;
  if (u32(local) != 0x04034b50u) return bad(file, "damaged member header", err);
  size_t start = entry->local + LOCAL_SIZE + u16(local + 26) + u16(local + 28);
  if (start > file->size || entry->packed > file->size - start)
    return bad(file, "member beyond the file", err);
  *packed = file->bytes + start;
  return BL_OK;
}

static bl_status check_size(const bl_data_file *file, const member *entry, size_t limit,
                            bl_error *err) {
  if (entry->size > limit)
    return bl_fail(err, BL_ERR_RANGE, "%s: NPZ member of %zu bytes, more than the limit of %zu",
                   file->path, entry->size, limit);
  if (entry->method == METHOD_STORED && entry->size != entry->packed)
    return bad(file, "stored member with two sizes", err);
  if (entry->method == METHOD_DEFLATED && entry->size / MOST_INFLATION > entry->packed)
    return bad(file, "member promises more than it can hold", err);
  return BL_OK;
}

static bool inflate_exactly(const uint8_t *packed, const member *entry, uint8_t *bytes) {
  z_stream stream = {.next_in = (Bytef *)(uintptr_t)packed,
                     .avail_in = (uInt)entry->packed,
                     .next_out = bytes,
                     .avail_out = (uInt)entry->size};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) return false;
  int code = inflate(&stream, Z_FINISH);
  (void)inflateEnd(&stream);
  return code == Z_STREAM_END && stream.avail_out == 0;
}

static bl_status unpack(const bl_data_file *file, const member *entry, const uint8_t *packed,
                        uint8_t *bytes, bl_error *err) {
  if (entry->method == METHOD_STORED)
    memcpy(bytes, packed, entry->size);
  else if (!inflate_exactly(packed, entry, bytes))
    return bad(file, "damaged compressed member", err);
  if (crc32(0, bytes, (uInt)entry->size) != entry->crc)
    return bad(file, "checksum of the member is wrong", err);
  return BL_OK;
}

bl_status bl_npz_extract(const bl_data_file *file, const char *name, size_t limit, uint8_t **bytes,
                         size_t *size, bl_error *err) {
  member entry = {0};
  const uint8_t *packed = NULL;
  BL_TRY(find_member(file, name, &entry, err));
  BL_TRY(locate(file, &entry, &packed, err));
  BL_TRY(check_size(file, &entry, limit, err));
  uint8_t *unpacked = malloc(entry.size + 1);
  if (unpacked == NULL)
    return bl_fail(err, BL_ERR_MEMORY, "%s: no memory for %zu bytes", file->path, entry.size);
  bl_status status = unpack(file, &entry, packed, unpacked, err);
  if (status != BL_OK) {
    free(unpacked);
    return status;
  }
  *bytes = unpacked;
  *size = entry.size;
  return BL_OK;
}
