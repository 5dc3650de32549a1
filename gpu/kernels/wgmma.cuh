// The forms of wgmma: m64nNk16 on bfloat16 and binary16, m64nNk32 on 8-bit integers, for N of 64, 128 and 256, and 192 on bfloat16.
//
// d += a b, where lane l of warp w holds rows 16 w + l / 4 and that + 8 of the 64, and of each 8 columns j those at 2 (l % 4)
// and the next: d[4 j], d[4 j + 1] in the first row, d[4 j + 2], d[4 j + 3] in the second. With `accumulate` false, d is
// written, not read. The right operand is stored with the sum innermost (a row of it is a column of the product), or with
// TRANS_B the other way. Forms that end in `_rs` take the left operand from registers, laid out as that of mma.sync m16n8k16.
#pragma once

#define WGMMA_REGISTERS_0_31 \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define WGMMA_REGISTERS_32_63 \
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define WGMMA_REGISTERS_64_95 \
    "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
    "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define WGMMA_REGISTERS_96_127 \
    "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
    "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"

#define WGMMA_LIST_64 WGMMA_REGISTERS_0_31
#define WGMMA_LIST_128 WGMMA_LIST_64 ", " WGMMA_REGISTERS_32_63
#define WGMMA_LIST_192 WGMMA_LIST_128 ", " WGMMA_REGISTERS_64_95
#define WGMMA_LIST_256 WGMMA_LIST_192 ", " WGMMA_REGISTERS_96_127

#define WGMMA_D8(c, d, i) \
    c(d[i]), c(d[i + 1]), c(d[i + 2]), c(d[i + 3]), c(d[i + 4]), c(d[i + 5]), c(d[i + 6]), c(d[i + 7])
#define WGMMA_D32(c, d, i) WGMMA_D8(c, d, i), WGMMA_D8(c, d, i + 8), WGMMA_D8(c, d, i + 16), WGMMA_D8(c, d, i + 24)
#define WGMMA_OUT_64(c, d) WGMMA_D32(c, d, 0)
#define WGMMA_OUT_128(c, d) WGMMA_D32(c, d, 0), WGMMA_D32(c, d, 32)
#define WGMMA_OUT_192(c, d) WGMMA_D32(c, d, 0), WGMMA_D32(c, d, 32), WGMMA_D32(c, d, 64)
#define WGMMA_OUT_256(c, d) WGMMA_D32(c, d, 0), WGMMA_D32(c, d, 32), WGMMA_D32(c, d, 64), WGMMA_D32(c, d, 96)

// A to G are the numbers of the operands behind the accumulators: two descriptors and the flag, or four registers first.
#define WGMMA_FLOAT(TYPE, N, A, B, C, D, E, F, G) \
    template <int TRANS_B> \
    DEVICE void wgmma_##TYPE(float (&d)[N / 2], u64 a, u64 b, bool accumulate) { \
        asm volatile("{\n .reg .pred p;\n setp.ne.b32 p, " C ", 0;\n" \
                     " wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." #TYPE "." #TYPE " {" WGMMA_LIST_##N "}, " A ", " B \
                     ", p, 1, 1, 0, " D ";\n}" \
                     : WGMMA_OUT_##N("+f", d) : "l"(a), "l"(b), "r"((int)accumulate), "n"(TRANS_B)); \
    } \
    template <int TRANS_B> \
    DEVICE void wgmma_##TYPE##_rs(float (&d)[N / 2], const u32 (&a)[4], u64 b, bool accumulate) { \
        asm volatile("{\n .reg .pred p;\n setp.ne.b32 p, " F ", 0;\n" \
                     " wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." #TYPE "." #TYPE " {" WGMMA_LIST_##N "}, {" A ", " B \
                     ", " C ", " D "}, " E ", p, 1, 1, " G ";\n}" \
                     : WGMMA_OUT_##N("+f", d) \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"((int)accumulate), "n"(TRANS_B)); \
    }
#define WGMMA_S8(N, A, B, C) \
    DEVICE void wgmma_s8(int (&d)[N / 2], u64 a, u64 b, bool accumulate) { \
        asm volatile("{\n .reg .pred p;\n setp.ne.b32 p, " C ", 0;\n" \
                     " wgmma.mma_async.sync.aligned.m64n" #N "k32.s32.s8.s8 {" WGMMA_LIST_##N "}, " A ", " B ", p;\n}" \
                     : WGMMA_OUT_##N("+r", d) : "l"(a), "l"(b), "r"((int)accumulate)); \
    }

WGMMA_FLOAT(bf16, 64, "%32", "%33", "%34", "%35", "%36", "%37", "%38")
WGMMA_FLOAT(bf16, 128, "%64", "%65", "%66", "%67", "%68", "%69", "%70")
WGMMA_FLOAT(bf16, 192, "%96", "%97", "%98", "%99", "%100", "%101", "%102")
WGMMA_FLOAT(bf16, 256, "%128", "%129", "%130", "%131", "%132", "%133", "%134")
WGMMA_FLOAT(f16, 64, "%32", "%33", "%34", "%35", "%36", "%37", "%38")
WGMMA_FLOAT(f16, 128, "%64", "%65", "%66", "%67", "%68", "%69", "%70")
WGMMA_FLOAT(f16, 256, "%128", "%129", "%130", "%131", "%132", "%133", "%134")
WGMMA_S8(64, "%32", "%33", "%34")
WGMMA_S8(128, "%64", "%65", "%66")
WGMMA_S8(256, "%128", "%129", "%130")
