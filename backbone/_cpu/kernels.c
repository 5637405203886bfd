/* Batch-norm with ReLU6 and the depthwise 3x3 convolution, forward and backward, for maps stored
 * channels-last: (B, H, W, C), C a multiple of 8. kernels.py builds and calls it, once for each share of
 * the batch, so nothing here starts a thread. Sums are in a fixed order: the same input, the same bits.
 *
 * The file includes itself to make each function for float and for bfloat16; arithmetic is float.
 */
#ifndef REAL
#include <stdint.h>
#include <string.h>

#define LANES 8
#define TAPS 9
#define BLOCK_ROWS 64 /* pixels summed in float before the sum goes into a double */

typedef float vec __attribute__((vector_size(32), aligned(4)));
typedef int32_t bits __attribute__((vector_size(32), aligned(4)));
typedef uint32_t ubits __attribute__((vector_size(32), aligned(4)));
typedef uint16_t half_bits __attribute__((vector_size(16), aligned(2)));

static inline vec load_float(const float *p) { return *(const vec *)p; }
static inline void store_float(float *p, vec v) { *(vec *)p = v; }

static inline vec load_bfloat(const uint16_t *p) {
    return (vec)(__builtin_convertvector(*(const half_bits *)p, ubits) << 16);
}

/* To the nearest, ties to even; not-a-number stays one. */
static inline void store_bfloat(uint16_t *p, vec v) {
    ubits u = (ubits)v;
    ubits rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
    ubits number = (ubits)(v == v);
    *(half_bits *)p = __builtin_convertvector((rounded & number) | (0x7fc0 & ~number), half_bits);
}

static inline vec choose(bits where, vec yes, vec no) {
    return (vec)(((bits)yes & where) | ((bits)no & ~where));
}

/* ReLU6; not-a-number passes, as in PyTorch. */
static inline vec relu6(vec y) {
    const vec zero = {0}, six = zero + 6.0f;
    y = choose(y < zero, zero, y);
    return choose(y > six, six, y);
}

/* The gradient where ReLU6 let its input pass, else 0. */
static inline vec passed(vec y, vec g) {
    const vec zero = {0}, six = zero + 6.0f;
    return (vec)((bits)g & ~((y <= zero) | (y >= six)));
}

static void add_to(double *sums, float *block, long n) {
    for (long i = 0; i < n; i++) sums[i] += block[i];
    memset(block, 0, n * sizeof(float));
}

/* Pixels: n of three bytes. Their sums by channel. */
void colour_sums_byte(const uint8_t *p, int64_t *sums, long n) {
    int64_t r = 0, g = 0, b = 0;
    for (long start = 0; start < n; start += 65536) { /* 65536 bytes fit into 32 bits */
        uint32_t part_r = 0, part_g = 0, part_b = 0;
        long end = n - start < 65536 ? n : start + 65536;
        for (long i = 3 * start; i < 3 * end; i += 3) {
            part_r += p[i];
            part_g += p[i + 1];
            part_b += p[i + 2];
        }
        r += part_r;
        g += part_g;
        b += part_b;
    }
    sums[0] = r;
    sums[1] = g;
    sums[2] = b;
}

static inline uint8_t to_byte(int32_t x) {
    x >>= 10; /* downwards, below zero, too */
    return x < 0 ? 0 : x > 255 ? 255 : x;
}

/* y = m (3 x 3, rows) times each pixel, plus shift (3), in 1/1024, cut to a byte. */
void colour_mix_byte(const uint8_t *restrict p, uint8_t *restrict y, const int32_t *m, const int32_t *shift, long n) {
    const int32_t a = m[0], b = m[1], c = m[2], d = m[3], e = m[4], f = m[5], g = m[6], h = m[7], i = m[8];
    const int32_t u = shift[0], v = shift[1], w = shift[2];
    for (long k = 0; k < 3 * n; k += 3) {
        int32_t red = p[k], green = p[k + 1], blue = p[k + 2];
        y[k] = to_byte(a * red + b * green + c * blue + u);
        y[k + 1] = to_byte(d * red + e * green + f * blue + v);
        y[k + 2] = to_byte(g * red + h * green + i * blue + w);
    }
}

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define NAME(f) JOIN(f, SUFFIX)

#define REAL float
#define LOAD load_float
#define STORE store_float
#define SUFFIX _float
#include "kernels.c"
#undef REAL
#undef LOAD
#undef STORE
#undef SUFFIX
#define REAL uint16_t
#define LOAD load_bfloat
#define STORE store_bfloat
#define SUFFIX _bfloat
#include "kernels.c"

#else

/* sums: C of x - pilot, then C of its square. block: 2 C floats of zeros to work with. */
void NAME(norm_sums)(const REAL *x, long rows, long C, const float *pilot, double *sums, float *block) {
    for (long r = 0; r < rows; r++, x += C) {
        for (long c = 0; c < C; c += LANES) {
            vec v = LOAD(x + c) - load_float(pilot + c);
            store_float(block + c, load_float(block + c) + v);
            store_float(block + C + c, load_float(block + C + c) + v * v);
        }
        if (r % BLOCK_ROWS == BLOCK_ROWS - 1) add_to(sums, block, 2 * C);
    }
    add_to(sums, block, 2 * C);
}

/* y = relu6(x * scale + shift) */
void NAME(norm_apply)(const REAL *x, REAL *y, long rows, long C, const float *scale, const float *shift) {
    for (long r = 0; r < rows; r++, x += C, y += C)
        for (long c = 0; c < C; c += LANES)
            STORE(y + c, relu6(LOAD(x + c) * load_float(scale + c) + load_float(shift + c)));
}

/* sums: C of the gradient that ReLU6 lets pass, then C of it times (x - mean). With gx, for statistics that
 * stand still, gx = gradient * scale is written too. */
void NAME(norm_grad_sums)(const REAL *x, const REAL *g, REAL *gx, long rows, long C, const float *scale,
                          const float *shift, const float *mean, double *sums, float *block) {
    for (long r = 0; r < rows; r++, x += C, g += C) {
        for (long c = 0; c < C; c += LANES) {
            vec v = LOAD(x + c), a = load_float(scale + c);
            vec p = passed(v * a + load_float(shift + c), LOAD(g + c));
            store_float(block + c, load_float(block + c) + p);
            store_float(block + C + c, load_float(block + C + c) + p * (v - load_float(mean + c)));
            if (gx) STORE(gx + c, p * a);
        }
        if (gx) gx += C;
        if (r % BLOCK_ROWS == BLOCK_ROWS - 1) add_to(sums, block, 2 * C);
    }
    add_to(sums, block, 2 * C);
}

/* gx = passed gradient * scale + (x - mean) * slope + offset */
void NAME(norm_grad_apply)(const REAL *x, const REAL *g, REAL *gx, long rows, long C, const float *scale,
                           const float *shift, const float *mean, const float *slope, const float *offset) {
    for (long r = 0; r < rows; r++, x += C, g += C, gx += C)
        for (long c = 0; c < C; c += LANES) {
            vec v = LOAD(x + c), a = load_float(scale + c);
            vec p = passed(v * a + load_float(shift + c), LOAD(g + c));
            vec rest = (v - load_float(mean + c)) * load_float(slope + c) + load_float(offset + c);
            STORE(gx + c, p * a + rest);
        }
}

/* A row of maps, or the row of zeros where it lies outside. */
static inline const REAL *NAME(row_of)(const REAL *maps, const REAL *zeros, long row, long rows, long row_size) {
    return row >= 0 && row < rows ? maps + row * row_size : zeros;
}

/* One output pixel of 8 channels: three rows, columns left, left + d, left + 2 d of which some may be outside. */
static inline vec NAME(taps_at)(const REAL *const rows[3], const vec w[TAPS], vec sum, long left, long d, long W,
                                long C) {
    for (int j = 0; j < 3; j++) {
        long at = left + j * d;
        if (at < 0 || at >= W) continue;
        for (int i = 0; i < 3; i++) sum += w[3 * i + j] * LOAD(rows[i] + at * C);
    }
    return sum;
}

/* weight: (9, C) floats. zeros: W * C of them. Images: B of them, H x W to OH x OW. With a bias of C floats,
 * ReLU6 follows. */
void NAME(depthwise)(const REAL *x, const float *weight, const float *bias, REAL *y, long B, long H, long W, long C, long OH, long OW,
                     long stride, long d, long top, long left, const REAL *zeros) {
    /* output columns whose three taps are all inside */
    long first = (left + stride - 1) / stride, last = (W - 1 - 2 * d + left) / stride;
    if (W - 1 - 2 * d + left < 0) last = -1;
    if (last > OW - 1) last = OW - 1;
    if (first > OW) first = OW;
    if (last < first - 1) last = first - 1;
    for (long b = 0; b < B; b++, x += H * W * C)
        for (long oh = 0; oh < OH; oh++, y += OW * C)
            for (long c = 0; c < C; c += LANES) {
                const REAL *rows[3];
                vec w[TAPS], start = {0};
                if (bias) start = load_float(bias + c);
                for (int i = 0; i < 3; i++)
                    rows[i] = NAME(row_of)(x, zeros, oh * stride - top + i * d, H, W * C) + c;
                for (int k = 0; k < TAPS; k++) w[k] = load_float(weight + k * C + c);
                for (long o = 0; o < first; o++) {
                    vec sum = NAME(taps_at)(rows, w, start, o * stride - left, d, W, C);
                    STORE(y + o * C + c, bias ? relu6(sum) : sum);
                }
                for (long o = first; o <= last; o++) {
                    long at = (o * stride - left) * C;
                    vec sum = start;
                    for (int i = 0; i < 3; i++)
                        for (int j = 0; j < 3; j++) sum += w[3 * i + j] * LOAD(rows[i] + at + j * d * C);
                    STORE(y + o * C + c, bias ? relu6(sum) : sum);
                }
                for (long o = last + 1; o < OW; o++) {
                    vec sum = NAME(taps_at)(rows, w, start, o * stride - left, d, W, C);
                    STORE(y + o * C + c, bias ? relu6(sum) : sum);
                }
            }
}

/* What one value of the gradient, g, does to one input pixel and to one tap of the weight. */
#define TAP(k, p)                   \
    do {                            \
        vec gradient = LOAD(p);     \
        to_x += w[k] * gradient;    \
        dw[k] += here * gradient;   \
    } while (0)

/* Input pixels of a row, stride 1: the gradient's columns at + left - j d for tap j. */
static inline void NAME(grad_row_one)(const REAL *x, const REAL *const g[3], REAL *gx, const vec w[TAPS],
                                      vec dw[TAPS], long W, long C, long OW, long d, long left) {
    long first = 2 * d - left, last = OW - 1 - left;
    if (first < 0) first = 0;
    if (first > W) first = W;
    if (last > W - 1) last = W - 1;
    for (long at = 0; at < W; at++) {
        vec here = LOAD(x + at * C), to_x = {0};
        if (at >= first && at <= last) {
            for (int i = 0; i < 3; i++)
                for (int j = 0; j < 3; j++) TAP(3 * i + j, g[i] + (at + left - j * d) * C);
        } else {
            for (int j = 0; j < 3; j++) {
                long o = at + left - j * d;
                if (o < 0 || o >= OW) continue;
                for (int i = 0; i < 3; i++) TAP(3 * i + j, g[i] + o * C);
            }
        }
        STORE(gx + at * C, to_x);
    }
}

/* The same at stride 2 without dilation, for one or two rows of the gradient, each with its row of taps. */
static inline void NAME(grad_row_two)(const REAL *x, const REAL *const g[2], const int tap[2], int count, REAL *gx,
                                      const vec w[TAPS], vec dw[TAPS], long W, long C, long OW, long left) {
    for (long at = 0; at < W; at++) {
        long place = at + left;
        vec here = LOAD(x + at * C), to_x = {0};
        for (int i = 0; i < count; i++) {
            if (place & 1) {
                if (place / 2 < OW) TAP(tap[i] + 1, g[i] + place / 2 * C);
            } else {
                if (place / 2 < OW) TAP(tap[i], g[i] + place / 2 * C);
                if (place >= 2 && place / 2 - 1 < OW) TAP(tap[i] + 2, g[i] + (place / 2 - 1) * C);
            }
        }
        STORE(gx + at * C, to_x);
    }
}

/* gx: the gradient of x. sums: (9, C) of the weight's gradient; block: 9 C floats of zeros to work with.
 * Stride 2 needs d = 1. */
void NAME(depthwise_grad)(const REAL *x, const REAL *g, const float *weight, REAL *gx, double *sums, float *block,
                          long B, long H, long W, long C, long OH, long OW, long stride, long d, long top, long left,
                          const REAL *zeros) {
    for (long b = 0; b < B; b++, g += OH * OW * C) {
        for (long ih = 0; ih < H; ih++, x += W * C, gx += W * C)
            for (long c = 0; c < C; c += LANES) {
                vec w[TAPS], dw[TAPS];
                for (int k = 0; k < TAPS; k++) w[k] = load_float(weight + k * C + c);
                for (int k = 0; k < TAPS; k++) dw[k] = load_float(block + k * C + c);
                if (stride == 1) {
                    const REAL *rows[3];
                    for (int i = 0; i < 3; i++)
                        rows[i] = NAME(row_of)(g, zeros, ih + top - i * d, OH, OW * C) + c;
                    NAME(grad_row_one)(x + c, rows, gx + c, w, dw, W, C, OW, d, left);
                } else {
                    long place = ih + top;
                    const REAL *rows[2] = {NAME(row_of)(g, zeros, place / 2, OH, OW * C) + c, zeros + c};
                    int tap[2] = {place & 1 ? 3 : 0, 6}, count = place & 1 ? 1 : 2;
                    if (count == 2) rows[1] = NAME(row_of)(g, zeros, place / 2 - 1, OH, OW * C) + c;
                    NAME(grad_row_two)(x + c, rows, tap, count, gx + c, w, dw, W, C, OW, left);
                }
                for (int k = 0; k < TAPS; k++) store_float(block + k * C + c, dw[k]);
            }
        add_to(sums, block, TAPS * C);
    }
}

#endif
