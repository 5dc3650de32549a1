// What the compiler writes for ordinary C++: calls, local arrays, jump tables, division, atomics, constants, a grid barrier.

__constant__ int weights[4] = {3, 1, 4, 1};
__device__ int offsets[3] = {10, 20, 30};

__device__ __noinline__ int mixed(int a, const int *p) {
    int x[24];
    for (int i = 0; i < 24; i++) x[i] = p[i % 4] * a + i;
    int s = 0;
    for (int i = 0; i < (a & 15); i++) s += x[(i * 7) % 24];
    return s;
}

extern "C" __global__ void ordinary(const int *p, int *out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int v = mixed(i, p) + weights[i % 4] + offsets[i % 3];
    switch (i % 7) {
    case 0: v += p[0] / (i + 1); break;
    case 1: v -= p[1] % (i + 3); break;
    case 2: v ^= __popc(i) << 4; break;
    case 3: v = (int)(v * 1.5) + (int)sqrtf((float)i); break;
    case 4: v += (int)((long long)v * i >> 3); break;
    case 5: v = min(v, i) + __clz(i); break;
    default: v = ~v;
    }
    out[i] = v;
}

extern "C" __global__ void histogram(const unsigned *x, unsigned *bins, int n) {
    __shared__ unsigned local[16];
    if (threadIdx.x < 16) local[threadIdx.x] = 0;
    __syncthreads();
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) atomicAdd(&local[x[i] & 15], 1u);
    __syncthreads();
    if (threadIdx.x < 16) atomicAdd(&bins[threadIdx.x], local[threadIdx.x]);
}

// Every block adds its number, waits for all, and reads the total: a cooperative launch.
extern "C" __global__ void everyone(unsigned *counter, unsigned *total, unsigned *out) {
    if (threadIdx.x == 0) {
        atomicAdd(total, blockIdx.x + 1);
        __threadfence();
        atomicAdd(counter, 1u);
        while (*(volatile unsigned *)counter < gridDim.x) {}
        __threadfence();
        out[blockIdx.x] = *(volatile unsigned *)total;
    }
}
