/* Choice of decoding's row kernels by dtype and by the instruction set of this machine. */
#include "kernels.h"

#define KERNELS(v)                                                                                 \
  {                                                                                                \
    .norm = ml_decode_norm_##v, .activate = ml_decode_activate_##v, .embed = ml_decode_embed_##v,  \
    .shape = {ml_decode_shape_##v, ml_decode_shape_half_##v},                                      \
    .attend = {ml_decode_attend_##v, ml_decode_attend_half_##v},                                   \
    .fetch = {ml_decode_fetch_##v, ml_decode_fetch_half_##v}, .max = ml_decode_max_##v,            \
    .exponentials = ml_decode_exponentials_##v, .pick = ml_decode_pick_##v,                        \
    .pick_top = ml_decode_pick_top_##v, .at = ml_decode_at_##v, .scale = ml_decode_scale_##v       \
  }

static const ml_decode_kernels table[][2] = {
    {KERNELS(f64_portable), KERNELS(f32_portable)},
#if defined(__x86_64__)
    {KERNELS(f64_avx2), KERNELS(f32_avx2)},
    {KERNELS(f64_avx512), KERNELS(f32_avx512)},
#endif
};

const ml_decode_kernels *ml_decode_kernels_of(ml_dtype dtype) {
  return &table[ml_cpu_isa()][dtype == ML_F32];
}
