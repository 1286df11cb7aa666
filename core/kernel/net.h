/* Private to the kernel room: a network checked against its input, and the points it met.
 *
 * A network on images is cut into stages. Within a stage (convolutions, activations, norms,
 * residual sums) only pairs of pixels (p, p') with the same offset p' - p meet: each offset plane
 * goes through all of it in cache. A stage ends where planes mix: pooling, the mean over all
 * pixels, flatten, or a change between circular and other padding. What follows the last stage is
 * flat: two numbers a pair of points. Images are taken ML_LANE at a time, one lane each. */
#ifndef MOONLAB_KERNEL_NET_H
#define MOONLAB_KERNEL_NET_H

#include "kernels.h"

typedef struct {
  ml_kernel_op op;
  int64_t in[2], out[2]; /* pixels; 1 x 1 once flat */
  int64_t lead[2];       /* conv, pool: padding before the first pixel */
  int64_t slot;          /* act, norm: place of its variances, in pixels before, in points after */
} ml_kernel_step;

typedef struct {
  int first, end;       /* steps first..end-1 are within the planes; step `end` mixes them */
  int64_t in[2];        /* pixels that come in ... */
  int64_t out[2];       /* ... and that the planes end with */
  int64_t stride[2];    /* product over the stage: offsets in = stride times offsets out */
  bool circular, mixes; /* mixes: step `end` is pool, gap or flatten; else the padding changes */
} ml_kernel_stage;

typedef struct {
  int count, stages, first_flat, depth; /* depth: residual sums within each other */
  ml_kernel_step *step;
  ml_kernel_stage *stage; /* none for vectors */
  int64_t C;              /* channels, or the length of a vector */
  int64_t pixel_slots, flat_slots;
  int64_t plane;    /* most places in a plane */
  int64_t store[2]; /* places of the two stores of stages, taken in turn */
  double flops;     /* of a pair, roughly */
} ml_kernel_plan;

/* X: [n,d] or [n,H,W,C]; only its shape is looked at. */
ml_status ml_kernel_plan_new(ml_kernel_plan *plan, const ml_kernel_op *ops, int count,
                             const ml_tensor *X, ml_error *err) ML_MUST_CHECK;
void ml_kernel_plan_clear(ml_kernel_plan *plan);

struct ml_kernel_points {
  ml_kernel_plan plan;
  ml_dtype dtype;
  int64_t n, padded;     /* padded: n rounded up to whole lanes */
  ml_tensor X;           /* contiguous */
  char *lanes;           /* images: [block][pixel][channel][lane] */
  char *pixel_variances; /* [block][slot][lane] */
  char *flat_variances;  /* [slot][padded] */
  double *K, *T;         /* [padded] of each point with itself */
};

/* Bytes of one thread's scratch, and the scratch itself taken apart. */
size_t ml_kernel_flat_bytes(const ml_kernel_plan *plan, size_t size);
size_t ml_kernel_image_bytes(const ml_kernel_plan *plan, size_t size);

/* n <= ML_KERNEL_ROWS pairs through the flat steps: k and t [n], changed in place; but the result
 * for k may stand in scratch instead, so it is returned. The variances of one point stand on the
 * left, those of n points on the right; a self pass has left NULL and writes right. scratch:
 * ml_kernel_flat_bytes. */
typedef struct {
  const char *left; /* variances of one point, slots left_step apart */
  char *right;      /* of n points, slots right_step apart */
  int64_t left_step, right_step;
} ml_kernel_sides;
char *ml_kernel_flat(const ml_kernel_plan *plan, ml_dtype dtype, int64_t n, char *k, char *t,
                     const ml_kernel_sides *sides, char *scratch);

/* Puts what ml_kernel_images needs of image i of x into scratch (ml_kernel_image_bytes). */
void ml_kernel_images_left(const ml_kernel_points *x, int64_t i, char *scratch);
/* That image (x NULL: each lane of y's block with itself, whose variances are then written) against
 * a block of y, up to the flat steps: k and t [ML_LANE]. */
void ml_kernel_images(const ml_kernel_points *x, const ml_kernel_points *y, int64_t block, char *k,
                      char *t, char *scratch);

#endif
