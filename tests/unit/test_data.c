// SPDX-License-Identifier: Apache-2.0
// Data readers: every format and type on files written here byte by byte, then truncated, flipped
// and oversized ones, which must give an error or a sound array and never more memory than allowed.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#include "host/base/file.h"
#include "host/data/dataset.h"

static char folder[] = "/tmp/bitloom-data-XXXXXX";
static char path[64], second[64];

static int make_folder(void **state) {
  (void)state;
  if (mkdtemp(folder) == NULL) return -1;
  (void)snprintf(path, sizeof path, "%s/a", folder);
  (void)snprintf(second, sizeof second, "%s/b", folder);
  return 0;
}

static int drop_folder(void **state) {
  (void)state;
  (void)unlink(path);
  (void)unlink(second);
  return rmdir(folder);
}

typedef struct {
  uint8_t bytes[1 << 16];
  size_t size;
} blob;

static void put(blob *b, const void *bytes, size_t size) {
  assert_true(size <= sizeof b->bytes - b->size);
  memcpy(b->bytes + b->size, bytes, size);
  b->size += size;
}

static void put_int(blob *b, uint64_t value, size_t size, bool big_endian) {
  for (size_t i = 0; i < size; i++) {
    uint8_t byte = (uint8_t)(value >> (8 * (big_endian ? size - 1 - i : i)));
    put(b, &byte, 1);
  }
}

static void put_value(blob *b, bl_element type, double value, bool big_endian) {
  uint64_t bits = 0;
  float single = (float)value;
  if (type == BL_ELEMENT_F32)
    memcpy(&bits, &single, sizeof single);
  else if (type == BL_ELEMENT_F64)
    memcpy(&bits, &value, sizeof value);
  else
    bits = (uint64_t)(int64_t)value;
  put_int(b, bits, bl_element_size(type), big_endian);
}

static void save(const char *where, const blob *b, bool compress_it) {
  bl_error err = {0};
  if (!compress_it) {
    assert_int_equal(bl_file_write(where, b->bytes, b->size, &err), BL_OK);
    return;
  }
  gzFile f = gzopen(where, "wb");
  assert_non_null(f);
  assert_int_equal(gzwrite(f, b->bytes, (unsigned)b->size), (int)b->size);
  assert_int_equal(gzclose(f), Z_OK);
}

// An IDX or NPY file of shape {count, h, w} whose value i is pattern(i) for its type.
static double pattern(bl_element type, size_t i) {
  double value = (double)(i * 37 % 101);
  if (type == BL_ELEMENT_U8 || type == BL_ELEMENT_U16) return value;
  if (type == BL_ELEMENT_F32 || type == BL_ELEMENT_F64) return (value - 50.0) * 0.375;
  return value - 50.0;
}

static void idx_header(blob *b, uint8_t code, uint8_t rank, const uint32_t *dims) {
  uint8_t start[4] = {0, 0, code, rank};
  put(b, start, sizeof start);
  for (int i = 0; i < rank; i++)
    put_int(b, dims[i], 4, true);
}

static void npy_header(blob *b, int version, const char *dictionary) {
  put(b, "\x93NUMPY", 6);
  put_int(b, (uint64_t)version, 1, false);
  put_int(b, 0, 1, false);
  put_int(b, strlen(dictionary), version == 1 ? 2 : 4, false);
  put(b, dictionary, strlen(dictionary));
}

static void values(blob *b, bl_element type, size_t count, bool big_endian) {
  for (size_t i = 0; i < count; i++)
    put_value(b, type, pattern(type, i), big_endian);
}

static void expect_values(const bl_array *array, bl_element type) {
  assert_int_equal(array->type, type);
  for (size_t i = 0; i < array->dims[0]; i++)
    for (size_t k = 0; k < array->entry_elements; k++)
      assert_true(bl_array_value(array, i, k) == pattern(type, i * array->entry_elements + k));
}

static void idx_types(void **state) {
  (void)state;
  static const struct {
    uint8_t code;
    bl_element type;
  } types[] = {{8, BL_ELEMENT_U8},   {9, BL_ELEMENT_I8},   {11, BL_ELEMENT_I16},
               {12, BL_ELEMENT_I32}, {13, BL_ELEMENT_F32}, {14, BL_ELEMENT_F64}};
  const uint32_t dims[3] = {5, 3, 4};
  for (size_t t = 0; t < sizeof types / sizeof types[0]; t++)
    for (int gz = 0; gz < 2; gz++) {
      blob b = {.size = 0};
      idx_header(&b, types[t].code, 3, dims);
      values(&b, types[t].type, 60, true);
      save(path, &b, gz != 0);
      bl_array array;
      bl_error err = {0};
      assert_int_equal(bl_array_open(path, NULL, BL_DATA_LIMIT, &array, &err), BL_OK);
      assert_int_equal(array.rank, 3);
      assert_int_equal(array.dims[0], 5);
      assert_int_equal(array.entry_elements, 12);
      expect_values(&array, types[t].type);
      bl_array_free(&array);
    }
}

static void npy_types(void **state) {
  (void)state;
  static const struct {
    const char *name;
    bl_element type;
  } types[] = {{"|u1", BL_ELEMENT_U8},  {"|i1", BL_ELEMENT_I8},  {"<i2", BL_ELEMENT_I16},
               {">i2", BL_ELEMENT_I16}, {"<u2", BL_ELEMENT_U16}, {"<i4", BL_ELEMENT_I32},
               {">i4", BL_ELEMENT_I32}, {"<i8", BL_ELEMENT_I64}, {"<f4", BL_ELEMENT_F32},
               {">f4", BL_ELEMENT_F32}, {"<f8", BL_ELEMENT_F64}, {">f8", BL_ELEMENT_F64}};
  for (size_t t = 0; t < sizeof types / sizeof types[0]; t++)
    for (int version = 1; version <= 3; version++) {
      char dictionary[128];
      (void)snprintf(dictionary, sizeof dictionary,
                     "{'descr': '%s', 'fortran_order': False, 'shape': (2, 3, 2, 5), }     \n",
                     types[t].name);
      blob b = {.size = 0};
      npy_header(&b, version, dictionary);
      values(&b, types[t].type, 60, types[t].name[0] == '>');
      save(path, &b, version == 2);
      bl_array array;
      bl_error err = {0};
      assert_int_equal(bl_array_open(path, NULL, BL_DATA_LIMIT, &array, &err), BL_OK);
      assert_int_equal(array.rank, 4);
      assert_int_equal(array.entry_elements, 30);
      expect_values(&array, types[t].type);
      bl_array_free(&array);
    }
}

typedef struct {
  const char *name;
  const blob *content;
  bool deflated;
} zip_member;

static size_t deflate_raw(const blob *in, uint8_t *out, size_t room) {
  z_stream s = {0};
  assert_int_equal(deflateInit2(&s, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
  s.next_in = (Bytef *)(uintptr_t)in->bytes;
  s.avail_in = (uInt)in->size;
  s.next_out = out;
  s.avail_out = (uInt)room;
  assert_int_equal(deflate(&s, Z_FINISH), Z_STREAM_END);
  size_t size = room - s.avail_out;
  (void)deflateEnd(&s);
  return size;
}

// The 20 bytes that a local header and a directory entry share, from "flags" on.
static void zip_common(blob *b, const zip_member *m, size_t packed) {
  put_int(b, 0, 2, false);
  put_int(b, m->deflated ? 8 : 0, 2, false);
  put_int(b, 0, 4, false);
  put_int(b, crc32(0, m->content->bytes, (uInt)m->content->size), 4, false);
  put_int(b, packed, 4, false);
  put_int(b, m->content->size, 4, false);
  put_int(b, strlen(m->name), 2, false);
}

static void make_zip(blob *b, const zip_member *members, size_t count) {
  static uint8_t packed[1 << 16];
  blob directory = {.size = 0};
  for (size_t i = 0; i < count; i++) {
    const zip_member *m = &members[i];
    size_t at = b->size, size = m->content->size;
    if (m->deflated)
      size = deflate_raw(m->content, packed, sizeof packed);
    else
      memcpy(packed, m->content->bytes, size);
    put_int(b, 0x04034b50, 4, false);
    put_int(b, 20, 2, false);
    zip_common(b, m, size);
    put_int(b, 20, 2, false); // a local extra field, as numpy writes one
    put(b, m->name, strlen(m->name));
    put(b, "\x01\x00\x10\x00................", 20);
    put(b, packed, size);
    put_int(&directory, 0x02014b50, 4, false);
    put_int(&directory, 20 | 20 << 16, 4, false);
    zip_common(&directory, m, size);
    put(&directory, "\0\0\0\0\0\0\0\0\0\0\0\0", 12);
    put_int(&directory, at, 4, false);
    put(&directory, m->name, strlen(m->name));
  }
  size_t start = b->size;
  put(b, directory.bytes, directory.size);
  put_int(b, 0x06054b50, 4, false);
  put_int(b, 0, 4, false);
  put_int(b, count | count << 16, 4, false);
  put_int(b, directory.size, 4, false);
  put_int(b, start, 4, false);
  put_int(b, 4, 2, false);
  put(b, "note", 4);
}

static void small_npz(blob *zip) {
  blob images = {.size = 0}, labels = {.size = 0};
  npy_header(&images, 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (6, 2, 5)}\n");
  values(&images, BL_ELEMENT_F32, 60, false);
  npy_header(&labels, 1, "{\"shape\": (6,), \"descr\": \"<i8\", \"fortran_order\": False}\n");
  for (int i = 0; i < 6; i++)
    put_int(&labels, (uint64_t)(i % 3), 8, false);
  zip_member members[2] = {{"x.npy", &images, true}, {"y.npy", &labels, false}};
  make_zip(zip, members, 2);
}

static void npz_members(void **state) {
  (void)state;
  blob zip = {.size = 0};
  small_npz(&zip);
  save(path, &zip, false);
  bl_error err = {0};
  bl_dataset set;
  bl_dataset_source source = {.images = path, .labels = path, .label_array = "y"};
  assert_int_equal(bl_dataset_open(&source, &set, &err), BL_OK);
  assert_int_equal(set.count, 6);
  expect_values(&set.images, BL_ELEMENT_F32);
  for (size_t i = 0; i < 6; i++)
    assert_int_equal(bl_dataset_label(&set, i), i % 3);
  bl_dataset_free(&set);
  source.image_array = "z";
  assert_int_equal(bl_dataset_open(&source, &set, &err), BL_ERR_USAGE);
  source.image_array = "y";
  assert_int_equal(bl_dataset_open(&source, &set, &err), BL_ERR_FORMAT);
}

static void cifar_records(blob *b, int count) {
  for (int i = 0; i < count; i++) {
    put_int(b, (uint64_t)(i % 10), 1, false);
    for (int k = 0; k < 3072; k++)
      put_int(b, (uint64_t)((k + i) % 256), 1, false);
  }
}

static void cifar_layouts(void **state) {
  (void)state;
  blob b = {.size = 0};
  cifar_records(&b, 12);
  save(path, &b, true);
  bl_error err = {0};
  bl_dataset set;
  bl_dataset_source source = {.images = path, .skip = 1, .limit = 10};
  assert_int_equal(bl_dataset_open(&source, &set, &err), BL_OK);
  assert_int_equal(set.count, 10);
  assert_true(set.has_labels);
  bl_preprocess p = bl_preprocess_identity();
  p.scale = 2.0;
  p.channels = 3;
  for (int c = 0; c < 3; c++) {
    p.mean[c] = c + 1;
    p.std[c] = 4.0;
  }
  static double nchw[3072], nhwc[3072], again[3072];
  assert_int_equal(bl_dataset_read(&set, 4, &p, BL_LAYOUT_NCHW, nchw, &err), BL_OK);
  assert_int_equal(bl_dataset_read(&set, 4, &p, BL_LAYOUT_NHWC, nhwc, &err), BL_OK);
  assert_int_equal(bl_dataset_label(&set, 4), 5);
  for (int c = 0; c < 3; c++)
    for (int i = 0; i < 1024; i++) {
      double expected = (2.0 * ((c * 1024 + i + 5) % 256) - (c + 1)) / 4.0;
      assert_true(nchw[c * 1024 + i] == expected);
      assert_true(nhwc[i * 3 + c] == expected);
    }
  p.layout = BL_LAYOUT_NHWC;
  // what a .bloom says of other files does not move the planes of a record
  assert_int_equal(bl_dataset_read(&set, 4, &p, BL_LAYOUT_NHWC, again, &err), BL_OK);
  assert_memory_equal(again, nhwc, sizeof nhwc);
  p.layout = BL_LAYOUT_FILE;
  p.channels = 2;
  assert_int_equal(bl_dataset_read(&set, 0, &p, BL_LAYOUT_NHWC, nhwc, &err), BL_ERR_USAGE);
  bl_dataset_free(&set);
}

static void layouts_of_npy(void **state) {
  (void)state;
  blob b = {.size = 0};
  npy_header(&b, 1, "{'descr': '<i2', 'fortran_order': False, 'shape': (1, 2, 3, 4), }\n");
  values(&b, BL_ELEMENT_I16, 24, false);
  save(path, &b, false);
  bl_error err = {0};
  bl_dataset set;
  bl_dataset_source source = {.images = path};
  assert_int_equal(bl_dataset_open(&source, &set, &err), BL_OK);
  bl_preprocess p = bl_preprocess_identity();
  double out[24];
  for (int order = BL_LAYOUT_NCHW; order <= BL_LAYOUT_NHWC; order++) { // file order: nothing moves
    assert_int_equal(bl_dataset_read(&set, 0, &p, (bl_layout)order, out, &err), BL_OK);
    for (size_t i = 0; i < 24; i++)
      assert_true(out[i] == pattern(BL_ELEMENT_I16, i));
  }
  p.layout = BL_LAYOUT_NHWC; // axes are h 2, w 3, c 4
  assert_int_equal(bl_dataset_read(&set, 0, &p, BL_LAYOUT_NCHW, out, &err), BL_OK);
  for (size_t pixel = 0; pixel < 6; pixel++)
    for (size_t c = 0; c < 4; c++)
      assert_true(out[c * 6 + pixel] == pattern(BL_ELEMENT_I16, pixel * 4 + c));
  bl_sample_shape hwc = {2, 3, 4}, other = {3, 4, 2}, vector = {1, 1, 24}, wrong = {2, 3, 5};
  assert_int_equal(bl_dataset_fits(&set, &p, BL_LAYOUT_NHWC, hwc, "net", &err), BL_OK);
  assert_int_equal(bl_dataset_fits(&set, &p, BL_LAYOUT_NHWC, vector, "net", &err), BL_OK);
  assert_int_equal(bl_dataset_fits(&set, &p, BL_LAYOUT_NHWC, other, "net", &err), BL_ERR_FORMAT);
  assert_int_equal(bl_dataset_fits(&set, &p, BL_LAYOUT_NHWC, wrong, "net", &err), BL_ERR_FORMAT);
  p.layout = BL_LAYOUT_FILE;
  assert_int_equal(bl_dataset_fits(&set, &p, BL_LAYOUT_NCHW, other, "net", &err), BL_OK);
  p.channels = 5;
  assert_int_equal(bl_dataset_fits(&set, &p, BL_LAYOUT_NHWC, hwc, "net", &err), BL_ERR_USAGE);
  bl_dataset_free(&set);
}

static void labels_must_match(void **state) {
  (void)state;
  const uint32_t three[3] = {3, 2, 2}, two[1] = {2};
  blob images = {.size = 0}, labels = {.size = 0};
  idx_header(&images, 8, 3, three);
  values(&images, BL_ELEMENT_U8, 12, true);
  idx_header(&labels, 8, 1, two);
  values(&labels, BL_ELEMENT_U8, 2, true);
  save(path, &images, false);
  save(second, &labels, false);
  bl_error err = {0};
  bl_dataset set;
  bl_dataset_source source = {.images = path, .labels = second};
  assert_int_equal(bl_dataset_open(&source, &set, &err), BL_ERR_FORMAT);
  assert_non_null(strstr(err.text, "2 labels"));
  source.labels = path; // a picture is no label
  assert_int_equal(bl_dataset_open(&source, &set, &err), BL_ERR_FORMAT);
  source.labels = "missing-file";
  assert_int_equal(bl_dataset_open(&source, &set, &err), BL_ERR_IO);
  source = (bl_dataset_source){.images = path, .skip = 3};
  assert_int_equal(bl_dataset_open(&source, &set, &err), BL_ERR_RANGE);
  source = (bl_dataset_source){.images = second};
  assert_int_equal(bl_dataset_open(&source, &set, &err), BL_ERR_FORMAT);
}

static void not_finite(void **state) {
  (void)state;
  blob b = {.size = 0};
  npy_header(&b, 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }\n");
  put_int(&b, 0x3f800000, 4, false);
  put_int(&b, 0x7fc00000, 4, false);
  save(path, &b, false);
  bl_error err = {0};
  bl_dataset set;
  bl_dataset_source source = {.images = path};
  assert_int_equal(bl_dataset_open(&source, &set, &err), BL_OK);
  bl_preprocess p = bl_preprocess_identity();
  double out[2];
  assert_int_equal(bl_dataset_read(&set, 0, &p, BL_LAYOUT_NCHW, out, &err), BL_ERR_RANGE);
  bl_dataset_free(&set);
  p.std[0] = 0.0;
  assert_int_equal(bl_preprocess_check(&p, &err), BL_ERR_RANGE);
  p = bl_preprocess_identity();
  p.channels = 17;
  assert_int_equal(bl_preprocess_check(&p, &err), BL_ERR_RANGE);
}

static void refused_headers(void **state) {
  (void)state;
  static const char *const dictionaries[] = {
      "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2), }",
      "{'descr': '<c8', 'fortran_order': False, 'shape': (2, 2), }",
      "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (4,), }",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (), }",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 0), }",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (65536, 65536, 65536, 65536), }",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (-2, 2), }",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,4), }",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2",
      "{'descr': '<f4', 'fortran_order': Perhaps, 'shape': (2, 2), }",
      "{'descr': '<f4', 'fortran_order': False}",
      "{'descr': '', 'fortran_order': False, 'shape': (2, 2)}",
      "{'x': 1}",
      "",
  };
  for (size_t i = 0; i < sizeof dictionaries / sizeof dictionaries[0]; i++) {
    blob b = {.size = 0};
    npy_header(&b, 1, dictionaries[i]);
    values(&b, BL_ELEMENT_F32, 4, false);
    save(path, &b, false);
    bl_array array;
    bl_error err = {0};
    assert_int_not_equal(bl_array_open(path, NULL, BL_DATA_LIMIT, &array, &err), BL_OK);
    assert_null(array.bytes);
    assert_null(strchr(err.text, '\n'));
  }
}

// Each file of up to 64 bytes of a few kinds, and each truncation of good files.
static void truncated(void **state) {
  (void)state;
  blob kinds[4] = {{.size = 0}, {.size = 0}, {.size = 0}, {.size = 0}};
  const uint32_t dims[3] = {2, 3, 4};
  idx_header(&kinds[0], 8, 3, dims);
  values(&kinds[0], BL_ELEMENT_U8, 24, true);
  npy_header(&kinds[1], 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }\n");
  values(&kinds[1], BL_ELEMENT_F32, 4, false);
  small_npz(&kinds[2]);
  cifar_records(&kinds[3], 1);
  for (int k = 0; k < 4; k++)
    for (int gz = 0; gz < 2; gz++) {
      save(path, &kinds[k], gz != 0);
      uint8_t *bytes;
      size_t size;
      bl_error err = {0};
      assert_int_equal(bl_file_read(path, 1 << 20, &bytes, &size, &err), BL_OK);
      for (size_t cut = 0; cut<size; cut += size> 600 ? 61 : 1) {
        assert_int_equal(bl_file_write(second, bytes, cut, &err), BL_OK);
        bl_array array;
        err = (bl_error){0};
        assert_int_not_equal(bl_array_open(second, NULL, BL_DATA_LIMIT, &array, &err), BL_OK);
        assert_true(err.text[0] != '\0');
      }
      free(bytes);
    }
}

static uint64_t next_random(uint64_t *seed) {
  *seed ^= *seed << 13;
  *seed ^= *seed >> 7;
  *seed ^= *seed << 17;
  return *seed;
}

// Random flips: an error, or an array whose every value can be read (the sanitizer build looks on).
static void flipped(void **state) {
  (void)state;
  uint64_t seed = 0x9e3779b97f4a7c15u;
  print_message("flipped: seed %llu\n", (unsigned long long)seed);
  blob good[3] = {{.size = 0}, {.size = 0}, {.size = 0}};
  const uint32_t dims[3] = {2, 3, 4};
  idx_header(&good[0], 11, 3, dims);
  values(&good[0], BL_ELEMENT_I16, 24, true);
  npy_header(&good[1], 2, "{'descr': '>i4', 'fortran_order': False, 'shape': (2, 2), }\n");
  values(&good[1], BL_ELEMENT_I32, 4, true);
  small_npz(&good[2]);
  for (int round = 0; round < 3000; round++) {
    blob b = good[round % 3];
    for (uint64_t flips = 1 + next_random(&seed) % 4; flips > 0; flips--)
      b.bytes[next_random(&seed) % b.size] ^= (uint8_t)(1u << next_random(&seed) % 8);
    save(path, &b, round % 7 == 0);
    bl_array array;
    bl_error err = {0};
    if (bl_array_open(path, NULL, BL_DATA_LIMIT, &array, &err) != BL_OK) {
      assert_true(err.text[0] != '\0');
      continue;
    }
    double sum = 0.0;
    for (size_t i = 0; i < array.dims[0]; i++)
      for (size_t k = 0; k < array.entry_elements; k++)
        sum += bl_array_value(&array, i, k);
    (void)sum;
    bl_array_free(&array);
  }
}

// 64 KiB of zeros in a few hundred bytes of gzip, and a limit below them.
static void bombs(void **state) {
  (void)state;
  blob b = {.size = sizeof b.bytes};
  memset(b.bytes, 0, sizeof b.bytes);
  save(path, &b, true);
  bl_array array;
  bl_error err = {0};
  assert_int_equal(bl_array_open(path, NULL, 4096, &array, &err), BL_ERR_RANGE);
  blob zip = {.size = 0};
  small_npz(&zip);
  save(path, &zip, false);
  assert_int_equal(bl_array_open(path, NULL, zip.size + 16, &array, &err), BL_ERR_RANGE);
  assert_int_equal(bl_array_open(folder, NULL, BL_DATA_LIMIT, &array, &err), BL_ERR_IO);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(idx_types),      cmocka_unit_test(npy_types),
      cmocka_unit_test(npz_members),    cmocka_unit_test(cifar_layouts),
      cmocka_unit_test(layouts_of_npy), cmocka_unit_test(labels_must_match),
      cmocka_unit_test(not_finite),     cmocka_unit_test(refused_headers),
      cmocka_unit_test(truncated),      cmocka_unit_test(flipped),
      cmocka_unit_test(bombs),
  };
  return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
