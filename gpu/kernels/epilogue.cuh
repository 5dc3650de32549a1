// What products share: element types by number, and what becomes of a sum.
//
// DTYPE: 0 bfloat16, 1 binary16, 2 8-bit integer, 3 binary32.
#pragma once
#include "prelude.cuh"

#if DTYPE == 2
typedef int Sum;
typedef int Bias;
#else
typedef float Sum;
typedef float Bias;
#endif

#if DTYPE == 3
#define ELEMENT 4
#elif DTYPE == 2
#define ELEMENT 1
#else
#define ELEMENT 2
#endif

// Made by the host; the order is that of its arguments.
struct Epilogue {
    const Bias* bias;
    // Of codes alone.
    Factors factors;
    Requant requant;
    // Of floating-point results alone.
    int act;
};

#if DTYPE == 2
DEVICE u32 finish(const Epilogue& epilogue, int sum, int bias, Factor factor) {
    return code_of(epilogue.requant, (int)((u32)sum + (u32)bias), factor);
}
#else
DEVICE float finish(const Epilogue& epilogue, float sum, float bias) { return activate(epilogue.act, sum + bias); }
#endif

// The results of two adjacent columns, as they lie in memory.
DEVICE u32 finish_pair(const Epilogue& epilogue, Sum first, Sum second, int column, int n) {
    int next = column + 1;
    Bias bias0 = column < n ? epilogue.bias[column] : 0, bias1 = next < n ? epilogue.bias[next] : 0;
#if DTYPE == 2
    Factor factor0 = factor_at(epilogue.factors, column, column < n), factor1 = factor_at(epilogue.factors, next, next < n);
    return finish(epilogue, first, bias0, factor0) | finish(epilogue, second, bias1, factor1) << 8;
#elif DTYPE == 1
    return pack_f16(finish(epilogue, first, bias0), finish(epilogue, second, bias1));
#else
    return pack_bf16(finish(epilogue, first, bias0), finish(epilogue, second, bias1));
#endif
}

// Writes one result.
DEVICE void store_result(const Epilogue& epilogue, u8* out, size_t at, Sum sum, int column) {
#if DTYPE == 2
    out[at] = finish(epilogue, sum, epilogue.bias[column], factor_at(epilogue.factors, column, true));
#elif DTYPE == 3
    ((float*)out)[at] = finish(epilogue, sum, epilogue.bias[column]);
#elif DTYPE == 1
    ((u16*)out)[at] = float_to_f16(finish(epilogue, sum, epilogue.bias[column]));
#else
    ((u16*)out)[at] = float_to_bf16(finish(epilogue, sum, epilogue.bias[column]));
#endif
}
