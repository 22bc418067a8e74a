/* The exponential that softmax needs, for every C file here. */

#ifndef ENTROPIX_EXP_NEGATIVE_H
#define ENTROPIX_EXP_NEGATIVE_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* exp(x) for -87 <= x <= 0 with a relative error of 2e-7: 2^n · e^r with |r| <= ln 2 / 2 (Cephes' polynomial). A
 * library call would not be vectorised without -ffast-math, which must not be linked into somebody's process. */
static inline float exp_negative(float x) {
#if defined(__x86_64__) && !defined(__SSE4_1__)
    float n = (float)(int32_t)(x * 1.44269504088896341f - 0.5f); /* rintf is a call there */
#else
    float n = rintf(x * 1.44269504088896341f);
#endif
    float r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    int32_t bits = ((int32_t)n + 127) << 23;
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}

#endif
