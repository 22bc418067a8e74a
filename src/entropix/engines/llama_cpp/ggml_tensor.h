// What tap.c has to know of ggml: a tensor's fields as they lie in memory. That this is the layout of the ggml in use is
// checked with every node: ggml_get_name() must return the address of `name`.

#pragma once

#include <stddef.h>
#include <stdint.h>

enum { GGML_TYPE_F32 = 0, GGML_TYPE_F16 = 1 };

struct ggml_tensor {
    int32_t type;
    void * buffer;
    int64_t ne[4];  // elements per dimension
    size_t nb[4];   // bytes from one to the next
    int32_t op;
    int32_t op_params[16];
    int32_t flags;
    struct ggml_tensor * src[10];
    struct ggml_tensor * view_src;
    size_t view_offs;
    void * data;
    char name[64];
};
