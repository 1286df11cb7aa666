/* Saving and loading a decoder: safetensors with the configuration and the multipliers in its
 * metadata. */
#include "internal.h"
#include "io/io.h"

#include <math.h>
#include <string.h>

#define FORMAT "moonlab.transformer.1"

/* {"head": 0.5, ...} of the multipliers that are not 1; ml_free it. NULL: out of memory. */
static char *multipliers_json(const ml_transformer *m) {
  json_t *object = json_object();
  for (int64_t i = 0; object && i <= m->n_params; i++) {
    bool last = i == m->n_params;
    double value = last ? m->tied_multiplier : m->params[i].multiplier;
    if (value != 1 &&
        json_object_set_new(object, last ? "head" : m->params[i].name, json_real(value)) != 0) {
      json_decref(object);
      object = NULL;
    }
  }
  return ml_transformer_json_text(object);
}

ml_status ml_transformer_save(const ml_transformer *m, const char *path, ml_error *err) {
  for (int64_t i = 0; i <= m->n_params; i++)
    if (!isfinite(i < m->n_params ? m->params[i].multiplier : m->tied_multiplier))
      return ml_fail(err, ML_EARG, 0, "the multiplier of %s is not finite",
                     i < m->n_params ? m->params[i].name : "head");
  char *config = ml_transformer_config_json(&m->config), *multipliers = multipliers_json(m);
  ml_named_tensor *items = ml_alloc((size_t)m->n_params * sizeof *items);
  ml_status status = ML_OK;
  if (!config || !multipliers || !items) {
    status =
        ml_fail(err, ML_ENOMEM, 0, "no memory to save %lld parameters", (long long)m->n_params);
  } else {
    for (int64_t i = 0; i < m->n_params; i++) {
      items[i].name = m->params[i].name;
      ml_tensor_detach(&items[i].tensor, &m->params[i].tensor);
    }
    const char *const meta[] = {"format", FORMAT, "config", config, "multipliers", multipliers};
    status = ml_safetensors_save(path, items, (int)m->n_params, meta, 3, err);
    if (status)
      err->arg = err->arg == 1 ? 2 : 0; /* the path follows the model */
    for (int64_t i = 0; i < m->n_params; i++)
      ml_tensor_clear(&items[i].tensor);
  }
  ml_free(config);
  ml_free(multipliers);
  ml_free(items);
  return status;
}

static ml_status read_multipliers(ml_transformer *m, const char *text, const char *path,
                                  ml_error *err) {
  if (!text)
    return ML_OK;
  json_error_t where;
  json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, &where);
  ml_status status = ML_OK;
  if (!json_is_object(object))
    status = ml_fail(err, ML_EFORMAT, 1, "%.100s: the multipliers are not a JSON object", path);
  const char *key;
  json_t *value;
  json_object_foreach(object, key, value) {
    double *slot = ml_transformer_multiplier(m, key);
    if (slot && json_is_number(value)) {
      *slot = json_number_value(value);
      continue;
    }
    status =
        ml_fail(err, ML_EFORMAT, 1,
                "%.100s: multiplier of \"%.48s\": no such parameter, or not a number", path, key);
    break;
  }
  json_decref(object);
  return status;
}

/* The file's tensors become the parameters; nothing is copied. */
static ml_status fill(ml_transformer *m, const ml_tensor_file *file, const char *path,
                      ml_error *err) {
  char text[ML_DESCRIBE], wanted[ML_DESCRIBE];
  if (file->n != m->n_params)
    return ml_fail(err, ML_EFORMAT, 1, "%.100s holds %d tensors, the configuration wants %lld",
                   path, file->n, (long long)m->n_params);
  for (int64_t i = 0; i < m->n_params; i++) {
    ml_transformer_param *p = &m->params[i];
    ml_shape shape = ml_transformer_param_shape(m, i);
    const ml_tensor *t = ml_tensor_file_find(file, p->name);
    if (!t)
      return ml_fail(err, ML_EFORMAT, 1, "%.100s: tensor \"%s\" is missing", path, p->name);
    ml_shape have = ml_shape_of(t);
    if (t->dtype != (ml_dtype)m->config.dtype || !ml_shape_equal(&have, &shape))
      return ml_fail(err, ML_EFORMAT, 1, "%.80s: \"%s\" is %s, wanted %s %s", path, p->name,
                     ml_describe(text, t), ml_dtype_name((ml_dtype)m->config.dtype),
                     ml_describe_shape(wanted, &shape));
    ML_TRY_INNER(ml_param(&p->tensor, t, err), err);
  }
  return ML_OK;
}

ml_status ml_transformer_load(ml_transformer **model, const char *path, ml_error *err) {
  *model = NULL;
  ml_tensor_file file = {0};
  ML_TRY(ml_safetensors_load(&file, path, ML_AS_STORED, err));
  const char *format = ml_tensor_file_meta(&file, "format"),
             *config = ml_tensor_file_meta(&file, "config");
  ml_transformer_config c;
  ml_status status = ML_OK;
  if (!format || strcmp(format, FORMAT) != 0 || !config)
    status =
        ml_fail(err, ML_EFORMAT, 1, "%.100s is not a decoder saved by lm:save (format \"%.40s\")",
                path, format ? format : "none");
  if (!status)
    status = ml_transformer_config_parse(&c, config, strlen(config), err);
  if (!status && file.n < c.depth) /* before a table for a claimed depth is made */
    status = ml_fail(err, ML_EFORMAT, 1, "%.100s holds %d tensors for %lld blocks", path, file.n,
                     (long long)c.depth);
  if (!status)
    status = ml_transformer_layout(model, &c, err);
  if (!status)
    status = fill(*model, &file, path, err);
  if (!status)
    status = read_multipliers(*model, ml_tensor_file_meta(&file, "multipliers"), path, err);
  ml_tensor_file_clear(&file);
  if (status) {
    ml_transformer_free(*model);
    *model = NULL;
  }
  return status;
}
