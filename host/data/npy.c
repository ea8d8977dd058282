// SPDX-License-Identifier: Apache-2.0
// NPY, NumPy's array file, versions 1 to 3: a magic, a version, a header length and a Python
// dictionary {'descr': '<f4', 'fortran_order': False, 'shape': (100, 28, 28)}, then the values.
// The dictionary is read by a parser that knows exactly these three keys and nothing else.
#include <string.h>

#include "host/data/formats.h"

typedef struct {
  const char *path;
  const char *at, *end;
} scanner;

typedef struct {
  char descr[8];
  bool fortran;
  uint32_t rank;
  uint32_t dims[BL_ARRAY_MAX_RANK];
  unsigned seen; // a bit for each key that was read
} npy_header;

enum { SEEN_DESCR = 1, SEEN_ORDER = 2, SEEN_SHAPE = 4, SEEN_ALL = 7 };

static const char magic[6] = {'\x93', 'N', 'U', 'M', 'P', 'Y'};

bool bl_npy_recognise(const bl_data_file *file) {
  return file->size >= sizeof magic && memcmp(file->bytes, magic, sizeof magic) == 0;
}

static bl_status bad(const scanner *scan, const char *what, bl_error *err) {
  return bl_fail(err, BL_ERR_FORMAT, "%s: NPY header: %s", scan->path, what);
}

static void skip_space(scanner *scan) {
  while (scan->at < scan->end && (*scan->at == ' ' || *scan->at == '\n' || *scan->at == '\t'))
    scan->at++;
}

// Takes `c` if it is next.
static bool take(scanner *scan, char c) {
  skip_space(scan);
  if (scan->at == scan->end || *scan->at != c) return false;
  scan->at++;
  return true;
}

static bool take_word(scanner *scan, const char *word) {
  skip_space(scan);
  size_t length = strlen(word);
  if ((size_t)(scan->end - scan->at) < length || memcmp(scan->at, word, length) != 0) return false;
  scan->at += length;
  return true;
}

// A quoted string of fewer than `size` characters.
static bool take_string(scanner *scan, char *text, size_t size) {
  char quote = take(scan, '\'') ? '\'' : '"';
  if (quote == '"' && !take(scan, '"')) return false;
  size_t length = 0;
  for (; scan->at < scan->end && *scan->at != quote; scan->at++) {
    if (length + 1 >= size) return false;
    text[length++] = *scan->at;
  }
  text[length] = '\0';
  return take(scan, quote);
}

static bool take_number(scanner *scan, uint32_t *number) {
  skip_space(scan);
  const char *start = scan->at;
  uint64_t value = 0;
  for (; scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9'; scan->at++) {
    value = value * 10 + (uint64_t)(*scan->at - '0');
    if (value > UINT32_MAX) return false;
  }
  *number = (uint32_t)value;
  return scan->at != start;
}

static bl_status read_shape(scanner *scan, npy_header *header, bl_error *err) {
  if (!take(scan, '(')) return bad(scan, "shape is not a tuple", err);
  header->rank = 0;
  while (!take(scan, ')')) {
    if (header->rank == BL_ARRAY_MAX_RANK) return bad(scan, "too many axes", err);
    uint32_t *dim = &header->dims[header->rank++];
    if (!take_number(scan, dim)) return bad(scan, "an axis is not a 32-bit size", err);
    if (*dim == 0) return bad(scan, "an axis is empty", err);
    if (take(scan, ',')) continue;
    if (!take(scan, ')')) return bad(scan, "shape is not closed", err);
    break;
  }
  return header->rank == 0 ? bad(scan, "a single value is no data set", err) : BL_OK;
}

static bl_status read_entry(scanner *scan, npy_header *header, bl_error *err) {
  char key[16];
  if (!take_string(scan, key, sizeof key) || !take(scan, ':'))
    return bad(scan, "expected 'key': value", err);
  if (strcmp(key, "descr") == 0) {
    header->seen |= SEEN_DESCR;
    return take_string(scan, header->descr, sizeof header->descr)
               ? BL_OK
               : bad(scan, "descr is not a plain type (records are not read)", err);
  }
  if (strcmp(key, "fortran_order") == 0) {
    header->seen |= SEEN_ORDER;
    header->fortran = take_word(scan, "True");
    return header->fortran || take_word(scan, "False")
               ? BL_OK
               : bad(scan, "fortran_order is neither True nor False", err);
  }
  if (strcmp(key, "shape") == 0) {
    header->seen |= SEEN_SHAPE;
    return read_shape(scan, header, err);
  }
  return bad(scan, "unknown key", err);
}

static bl_status read_dictionary(scanner *scan, npy_header *header, bl_error *err) {
  if (!take(scan, '{')) return bad(scan, "no dictionary", err);
  while (!take(scan, '}')) {
    BL_TRY(read_entry(scan, header, err));
    if (take(scan, ',')) continue;
    if (!take(scan, '}')) return bad(scan, "dictionary is not closed", err);
    break;
  }
  return header->seen == SEEN_ALL ? BL_OK : bad(scan, "descr, fortran_order or shape missing", err);
}

static bl_status set_type(const bl_data_file *file, const char *descr, bl_array *array,
                          bl_error *err) {
  static const struct {
    char name[3];
    bl_element type;
  } known[] = {{"u1", BL_ELEMENT_U8},  {"b1", BL_ELEMENT_U8},  {"i1", BL_ELEMENT_I8},
               {"u2", BL_ELEMENT_U16}, {"i2", BL_ELEMENT_I16}, {"i4", BL_ELEMENT_I32},
               {"i8", BL_ELEMENT_I64}, {"f4", BL_ELEMENT_F32}, {"f8", BL_ELEMENT_F64}};
  array->big_endian = descr[0] == '>';
  if (strchr("<>|=", descr[0]) != NULL && descr[0] != '\0')
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
      if (strcmp(descr + 1, known[i].name) == 0) {
        array->type = known[i].type;
        return BL_OK;
      }
  return bl_fail(err, BL_ERR_UNSUPPORTED,
                 "%s: NPY type '%s' is not read; store u1, i1, i2, i4, i8, f4 or f8", file->path,
                 descr);
}

// Where the dictionary lies: behind a 2-byte (version 1) or 4-byte length.
static bl_status locate(const bl_data_file *file, size_t *start, size_t *length, bl_error *err) {
  const uint8_t *bytes = file->bytes;
  if (file->size < 12) return bl_fail(err, BL_ERR_FORMAT, "%s: NPY header ends early", file->path);
  if (bytes[6] < 1 || bytes[6] > 3)
    return bl_fail(err, BL_ERR_UNSUPPORTED, "%s: NPY version %u, expected 1 to 3", file->path,
                   (unsigned)bytes[6]);
  *start = bytes[6] == 1 ? 10 : 12;
  *length = (size_t)bytes[8] | (size_t)bytes[9] << 8;
  if (bytes[6] != 1) *length |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
  if (*length > file->size - *start)
    return bl_fail(err, BL_ERR_FORMAT, "%s: NPY header of %zu bytes reaches beyond the file",
                   file->path, *length);
  return BL_OK;
}

bl_status bl_npy_parse(const bl_data_file *file, bl_array *array, bl_error *err) {
  size_t start = 0, length = 0;
  BL_TRY(locate(file, &start, &length, err));
  const char *text = (const char *)file->bytes + start;
  scanner scan = {.path = file->path, .at = text, .end = text + length};
  npy_header header = {0};
  BL_TRY(read_dictionary(&scan, &header, err));
  BL_TRY(set_type(file, header.descr, array, err));
  if (header.fortran && header.rank > 1)
    return bl_fail(err, BL_ERR_UNSUPPORTED,
                   "%s: NPY array in Fortran order; store it with numpy.ascontiguousarray",
                   file->path);
  array->rank = header.rank;
  memcpy(array->dims, header.dims, sizeof header.dims);
  return bl_array_place(file, start + length, array, err);
}
