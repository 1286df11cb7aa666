/* Tensor files that NumPy and Python wrote are read, ours are read back and have the bytes they
 * should. */
#include "golden.h"

static void test_npy(void) { /* golden: tests/golden/io/make.py */
  static const struct {
    const char *name, *described;
    values kind;
  } files[] = {{"f8.npy", "f64 [2x3]", REALS},
               {"f8_fortran.npy", "f64 [3x4x2]", REALS},
               {"f8_big.npy", "f64 [5]", REALS},
               {"f4.npy", "f32 [4x3]", REALS},
               {"f4_big_fortran.npy", "f32 [2x5]", REALS},
               {"v2.npy", "f32 [4x3]", REALS},
               {"v3.npy", "f32 [4x3]", REALS},
               {"f2.npy", "f32 [7]", REALS},
               {"i8.npy", "index [6]", UNSIGNED},
               {"i4_big.npy", "f64 [3x3]", SIGNED},
               {"i1.npy", "f64 [9]", SIGNED},
               {"u8.npy", "f64 [4]", UNSIGNED},
               {"u2.npy", "f64 [4]", UNSIGNED},
               {"u1.npy", "u8 [2x2x2]", UNSIGNED},
               {"b1.npy", "u8 [9]", BOOLS}};
  ml_error err;
  for (size_t k = 0; k < sizeof files / sizeof *files; k++) {
    ml_tensor t = {0};
    const char *path = golden(files[k].name);
    CHECK_OK(ml_npy_load(&t, path, ML_AS_STORED, &err), &err);
    CHECK_DESCRIBED(&t, files[k].described);
    CHECK(ml_is_contiguous(&t));
    check_values(&t, files[k].kind);
    ml_tensor_clear(&t);
    for (int as = ML_AS_F64; as <= ML_AS_F32; as++) {
      CHECK_OK(ml_npy_load(&t, path, (ml_load_as)as, &err), &err);
      CHECK_EQ(t.dtype, as == ML_AS_F64 ? ML_F64 : ML_F32);
      check_values(&t, files[k].kind);
      ml_tensor_clear(&t);
    }
    CHECK_ALLOC_SWEEP(ml_npy_load(&t, path, ML_AS_STORED, &err), ml_tensor_clear(&t));
  }
  ml_tensor t = {0};
  CHECK_OK(ml_npy_load(&t, golden("scalar.npy"), ML_AS_STORED, &err), &err);
  CHECK_EQ(t.rank, 0);
  CHECK(*ML_DATA(double, &t) == -1.25);
  ml_tensor_clear(&t);
  CHECK_OK(ml_npy_load(&t, golden("empty.npy"), ML_AS_STORED, &err), &err);
  CHECK_DESCRIBED(&t, "f32 [0x3]");
  ml_tensor_clear(&t);
}

static void test_negative_integers_are_no_positions(void) {
  ml_error err;
  ml_tensor t = {0};
  CHECK_FAIL(ml_npy_load(&t, golden("i8_negative.npy"), ML_AS_STORED, &err), ML_EFORMAT);
  CHECK_HAS(err.message, "{ as = \"f64\" }");
  CHECK_HAS(err.message, "-5");
  CHECK_HAS(err.message, "i8_negative.npy");
  CHECK_EQ(err.arg, 1);
  CHECK(ml_tensor_empty(&t));
  CHECK_OK(ml_npy_load(&t, golden("i8_negative.npy"), ML_AS_F64, &err), &err);
  check_values(&t, SIGNED);
  ml_tensor_clear(&t);
}

static void check_npz(const ml_tensor_file *f) {
  CHECK_STRING(f->items[0].name, "w");
  CHECK_STRING(f->items[3].name, "image");
  CHECK_DESCRIBED(ml_tensor_file_find(f, "w"), "f32 [4x3]");
  CHECK_DESCRIBED(ml_tensor_file_find(f, "b"), "f64 [5]");
  CHECK_DESCRIBED(ml_tensor_file_find(f, "ids"), "index [6]");
  CHECK_DESCRIBED(ml_tensor_file_find(f, "image"), "u8 [3x3]");
  for (int i = 0; i < 4; i++)
    check_values(&f->items[i].tensor, i < 2 ? REALS : UNSIGNED);
  CHECK(!ml_tensor_file_find(f, "absent"));
}

static void test_npz(void) { /* golden: tests/golden/io/make.py */
  ml_error err;
  ml_tensor_file f;
  CHECK_OK(ml_npz_load(&f, golden("stored.npz"), ML_AS_STORED, &err), &err);
  CHECK_EQ(f.n, 4);
  check_npz(&f);
  const char *path = scratch_file("a.npz");
  CHECK_OK(ml_npz_save(path, f.items, f.n, &err), &err);
  ml_tensor_file again;
  CHECK_OK(ml_npz_load(&again, path, ML_AS_STORED, &err), &err);
  CHECK_EQ(again.n, 4);
  check_npz(&again);
  ml_tensor_file_clear(&again);
  CHECK_ALLOC_SWEEP(ml_npz_save(path, f.items, f.n, &err), (void)0);
  CHECK_OK(ml_npz_save(path, NULL, 0, &err), &err);
  CHECK_OK(ml_npz_load(&again, path, ML_AS_STORED, &err), &err);
  CHECK_EQ(again.n, 0);
  ml_tensor_file_clear(&again);
  char *name = f.items[1].name;
  f.items[1].name = f.items[0].name;
  CHECK_FAIL(ml_npz_save(path, f.items, f.n, &err), ML_EARG);
  CHECK_HAS(err.message, "given twice");
  f.items[1].name = name;
  unlink(path);
  ml_tensor_file_clear(&f);
  ml_tensor_file_clear(&f);
  CHECK_OK(ml_npz_load(&f, golden("deflated.npz"), ML_AS_STORED, &err), &err);
  CHECK_EQ(f.n, 5);
  check_npz(&f);
  CHECK_DESCRIBED(ml_tensor_file_find(&f, "long"), "f64 [300x100]");
  ml_tensor_file_clear(&f);
  CHECK_ALLOC_SWEEP(ml_npz_load(&f, golden("deflated.npz"), ML_AS_F32, &err),
                    ml_tensor_file_clear(&f));
}

static void test_npy_bytes(void) { /* golden: the files numpy wrote */
  static const char *const names[] = {"f8.npy", "f4.npy",     "i8.npy",
                                      "u1.npy", "scalar.npy", "empty.npy"};
  ml_error err;
  for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
    ml_tensor t = {0};
    ml_in_file want, got;
    CHECK_OK(ml_npy_load(&t, golden(names[k]), ML_AS_STORED, &err), &err);
    const char *path = scratch_file("t.npy");
    CHECK_OK(ml_npy_save(path, &t, &err), &err);
    CHECK_OK(ml_in_open(&want, golden(names[k]), &err), &err);
    CHECK_OK(ml_in_open(&got, path, &err), &err);
    CHECK(want.bytes == got.bytes && !memcmp(want.data, got.data, got.bytes));
    ml_in_close(&want);
    ml_in_close(&got);
    CHECK_ALLOC_SWEEP(ml_npy_save(path, &t, &err), (void)0);
    unlink(path);
    ml_tensor_clear(&t);
  }
}

static void test_views_are_written_as_they_look(void) {
  ml_error err;
  ml_tensor t = {0}, view = {0}, back = {0};
  CHECK_OK(ml_npy_load(&t, golden("f8_fortran.npy"), ML_AS_STORED, &err), &err);
  CHECK_OK(ml_view_transpose(&view, &t, 0, 2, &err), &err);
  const char *path = scratch_file("view");
  ml_named_tensor item = {(char *)(uintptr_t) "v", view};
  ml_tensor_file f;
  for (int format = 0; format < 3; format++) {
    CHECK_OK(format == 0   ? ml_npy_save(path, &view, &err)
             : format == 1 ? ml_npz_save(path, &item, 1, &err)
                           : ml_safetensors_save(path, &item, 1, NULL, 0, &err),
             &err);
    CHECK_OK(ml_tensor_file_load(&f, path, ML_AS_STORED, &err), &err);
    CHECK_EQ(f.n, 1);
    CHECK_STRING(f.items[0].name, format ? "v" : "");
    CHECK_DESCRIBED(&f.items[0].tensor, "f64 [2x4x3]");
    CHECK_OK(ml_view_transpose(&back, &f.items[0].tensor, 0, 2, &err), &err);
    check_values(&back, REALS);
    ml_tensor_clear(&back);
    ml_tensor_file_clear(&f);
  }
  unlink(path);
  ml_tensor_clear(&view);
  ml_tensor_clear(&t);
}

static void check_safetensors(const ml_tensor_file *f) {
  static const struct {
    const char *name, *described;
    values kind;
  } want[] = {{"a", "f64 [2x3]", REALS},         {"ids", "index [6]", UNSIGNED},
              {"block.1.w", "f32 [4x3]", REALS}, {"i", "f64 [5]", SIGNED},
              {"half", "f32 [7]", REALS},        {"brain", "f32 [7]", REALS},
              {"image", "u8 [3x3]", UNSIGNED},   {"mask", "u8 [9]", BOOLS},
              {"none", "f32 [0x2]", REALS}};
  CHECK_EQ(f->n, 10);
  for (size_t k = 0; k < sizeof want / sizeof *want; k++) {
    ml_tensor *t = ml_tensor_file_find(f, want[k].name);
    CHECK(t != NULL);
    if (!t)
      continue;
    CHECK_DESCRIBED(t, want[k].described);
    check_values(t, want[k].kind);
  }
  CHECK(*ML_DATA(double, ml_tensor_file_find(f, "scalar")) == -1.25);
  CHECK_EQ(f->n_meta, 2);
  CHECK_STRING(ml_tensor_file_meta(f, "format"), "pt");
  CHECK_STRING(ml_tensor_file_meta(f, "note"), "gr\xc3\xbc\xc3\x9f"
                                               "e \"quoted\"");
  CHECK(!ml_tensor_file_meta(f, "absent"));
}

static void test_safetensors(void) { /* golden: tests/golden/io/make.py */
  ml_error err;
  ml_tensor_file f, again;
  CHECK_OK(ml_safetensors_load(&f, golden("all.safetensors"), ML_AS_STORED, &err), &err);
  check_safetensors(&f);
  const char *path = scratch_file("a.safetensors");
  CHECK_OK(ml_safetensors_save(path, f.items, f.n, (const char *const *)f.meta, f.n_meta, &err),
           &err);
  CHECK_OK(ml_safetensors_load(&again, path, ML_AS_STORED, &err), &err);
  check_safetensors(&again);
  ml_tensor_file_clear(&again);
  CHECK_ALLOC_SWEEP(ml_safetensors_save(path, f.items, f.n, NULL, 0, &err), (void)0);
  CHECK_ALLOC_SWEEP(ml_safetensors_load(&again, path, ML_AS_STORED, &err),
                    ml_tensor_file_clear(&again));
  CHECK_OK(ml_safetensors_save(path, NULL, 0, NULL, 0, &err), &err);
  CHECK_OK(ml_safetensors_load(&again, path, ML_AS_STORED, &err), &err);
  CHECK_EQ(again.n, 0);
  ml_tensor_file_clear(&again);
  unlink(path);
  ml_tensor_file_clear(&f);
}

static void test_safetensors_bytes(void) { /* analytic: the format written out by hand */
  ml_error err;
  ml_tensor a = {0}, b = {0};
  ml_shape two = ml_shape_make(1, (int64_t)2), one = ml_shape_make(2, (int64_t)1, (int64_t)1);
  CHECK_OK(ml_tensor_init_zeros(&a, ML_U8, &two, &err), &err);
  CHECK_OK(ml_tensor_init_zeros(&b, ML_F32, &one, &err), &err);
  ML_DATA(uint8_t, &a)[1] = 7;
  ML_DATA(float, &b)[0] = 1;
  ml_named_tensor items[] = {{(char *)(uintptr_t) "a", a}, {(char *)(uintptr_t) "b", b}};
  const char *meta[] = {"k", "v"};
  const char *path = scratch_file("bytes");
  CHECK_OK(ml_safetensors_save(path, items, 2, meta, 1, &err), &err);
  const char *header = "{\"__metadata__\":{\"k\":\"v\"},\"b\":{\"shape\":[1,1],\"dtype\":\"F32\","
                       "\"data_offsets\":[0,4]},"
                       "\"a\":{\"shape\":[2],\"dtype\":\"U8\",\"data_offsets\":[4,6]}}";
  char want[400];
  memset(want, 0, sizeof want);
  size_t padded = (strlen(header) + 7) / 8 * 8;
  want[0] = (char)padded;
  memset(want + 8, ' ', padded);
  memcpy(want + 8, header, strlen(header));
  memcpy(want + 8 + padded, "\0\0\x80\x3f\0\7", 6);
  ml_in_file got;
  CHECK_OK(ml_in_open(&got, path, &err), &err);
  CHECK_EQ(got.bytes, 8 + padded + 6);
  CHECK(got.bytes == 8 + padded + 6 && !memcmp(got.data, want, got.bytes));
  ml_in_close(&got);

  items[1].name = items[0].name;
  CHECK_FAIL(ml_safetensors_save(path, items, 2, NULL, 0, &err), ML_EARG);
  CHECK_HAS(err.message, "'a' is given twice");
  items[1].name = (char *)(uintptr_t) "__metadata__";
  CHECK_FAIL(ml_safetensors_save(path, items, 2, NULL, 0, &err), ML_EARG);
  CHECK_HAS(err.message, "reserved");
  items[1].name = (char *)(uintptr_t) "\xff";
  CHECK_FAIL(ml_safetensors_save(path, items, 2, NULL, 0, &err), ML_EARG);
  CHECK_HAS(err.message, "UTF-8");
  meta[1] = "\xc3(";
  CHECK_FAIL(ml_safetensors_save(path, items, 1, meta, 1, &err), ML_EARG);
  CHECK_HAS(err.message, "UTF-8");
  CHECK_FAIL(ml_safetensors_save("/nowhere/at/all", items, 1, NULL, 0, &err), ML_EIO);
  CHECK_FAIL(ml_safetensors_save("/dev/full", items, 1, NULL, 0, &err), ML_EIO);
  CHECK_HAS(err.message, "No space left");
  ml_tensor_clear(&b);
  items[1] = (ml_named_tensor){(char *)(uintptr_t) "b", b};
  CHECK_FAIL(ml_safetensors_save(path, items, 2, NULL, 0, &err), ML_ESTATE);
  CHECK_FAIL(ml_npz_save(path, items, 2, &err), ML_ESTATE);
  CHECK_FAIL(ml_npy_save(path, &b, &err), ML_ESTATE);
  ml_tensor_clear(&a);
  unlink(path);
}

static void test_idx(void) { /* golden: tests/golden/io/make.py */
  ml_error err;
  ml_tensor t = {0};
  CHECK_OK(ml_idx_load(&t, golden("labels.idx"), ML_AS_STORED, &err), &err);
  CHECK_DESCRIBED(&t, "index [10]");
  check_values(&t, UNSIGNED);
  ml_tensor_clear(&t);
  CHECK_OK(ml_idx_load(&t, golden("reals.idx"), ML_AS_STORED, &err), &err);
  CHECK_DESCRIBED(&t, "f32 [4x3]");
  check_values(&t, REALS);
  ml_tensor_clear(&t);
  CHECK_OK(ml_idx_load(&t, golden("images.idx.gz"), ML_AS_STORED, &err), &err);
  CHECK_DESCRIBED(&t, "u8 [3x4x5]");
  check_values(&t, UNSIGNED);
  ml_tensor_clear(&t);
  CHECK_ALLOC_SWEEP(ml_idx_load(&t, golden("images.idx.gz"), ML_AS_F32, &err), ml_tensor_clear(&t));
}

static void test_text(void) {
  ml_error err;
  ml_text text;
  CHECK_OK(ml_text_load(&text, golden("text.txt.gz"), &err), &err);
  CHECK_EQ(text.bytes, 9 + 6000);
  CHECK(!strncmp(text.text,
                 "gr\xc3\xbc\xc3\x9f"
                 "e, twice twice ",
                 21));
  CHECK_EQ(text.text[text.bytes], 0);
  ml_text_clear(&text);
  CHECK_ALLOC_SWEEP(ml_text_load(&text, golden("text.txt.gz"), &err), ml_text_clear(&text));
  const char *path = scratch_file("text");
  CHECK_OK(ml_write_file(path, "plain\n", 6, &err), &err);
  CHECK_OK(ml_text_load(&text, path, &err), &err);
  CHECK_STRING(text.text, "plain\n");
  ml_text_clear(&text);
  ml_text_clear(&text);
  unlink(path);
  CHECK_FAIL(ml_text_load(&text, path, &err), ML_EIO);
}

CHECK_MAIN(test_npy, test_negative_integers_are_no_positions, test_npz, test_npy_bytes,
           test_views_are_written_as_they_look, test_safetensors, test_safetensors_bytes, test_idx,
           test_text)
