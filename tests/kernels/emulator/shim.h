// SPDX-FileCopyrightText: The sceneflow authors
// SPDX-License-Identifier: Apache-2.0
// Enough of CUDA to run the kernels on a CPU, one block at a time: a thread is a fiber, and whatever waits for other
// threads (barriers, shuffles, votes) switches to the next one. Threads take turns in a random order.

#include <algorithm>
#include <cmath>
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <ucontext.h>
#include <vector>

using std::max;
using std::min;

#define __global__
#define __device__
#define __shared__ static
#define __grid_constant__
#define __launch_bounds__(...)
#define __CUDA_ARCH__ 900

struct uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(16) float4 { float x, y, z, w; };
static uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
static uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
static float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

template <class To, class From> static To bits(From from) {
    To to{};
    memcpy(&to, &from, min(sizeof(To), sizeof(From)));
    return to;
}
static unsigned __float_as_uint(float value) { return bits<unsigned>(value); }
static float __uint_as_float(unsigned value) { return bits<float>(value); }
static int __clz(unsigned value) { return value ? __builtin_clz(value) : 32; }
static int __popc(unsigned value) { return __builtin_popcount(value); }
static int __ffs(unsigned value) { return __builtin_ffs(value); }
static long long __double2ll_rn(double value) { return llrint(value); }
static void __threadfence() {}

static struct { unsigned x, y, z; } gridDim, blockIdx, threadIdx;

// Only the first switch to a fiber goes through swapcontext, which asks the system for its signal mask each time.
struct Fiber {
    ucontext_t context;
    jmp_buf place;
    bool begun;
    std::vector<char> stack;
    bool done;
};
// Lanes that meet: two sets of values, since a lane can be one meeting ahead of those that still read.
struct Meeting {
    int arrived = 0;
    unsigned turn = 0;
    unsigned long long values[2][32];
};

static std::vector<Fiber> fibers;
static std::vector<std::map<unsigned, Meeting>> warps;
static ucontext_t scheduler;
static jmp_buf scheduler_place;
static std::function<void()>* body;
static int current, alive, threads, waiting, counted[2];
static unsigned barrier_turn;

static void yield() {
    if (_setjmp(fibers[current].place) == 0) _longjmp(scheduler_place, 1);
}

static void run_fiber() {
    (*body)();
    fibers[current].done = true;
    alive--;
    _longjmp(scheduler_place, 1);
}

static void resume(Fiber& fiber) {
    if (_setjmp(scheduler_place) != 0) return;
    if (fiber.begun) _longjmp(fiber.place, 1);
    fiber.begun = true;
    swapcontext(&scheduler, &fiber.context);
}

static void run_block(int count, std::function<void()> function) {
    threads = alive = count;
    body = &function;
    waiting = counted[0] = counted[1] = 0;
    fibers.resize(max((size_t)count, fibers.size()));
    warps.assign((count + 31) / 32, {});
    std::vector<int> order(count);
    for (int i = 0; i < count; i++) {
        Fiber& fiber = fibers[order[i] = i];
        fiber.stack.resize(65536);
        fiber.done = fiber.begun = false;
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data();
        fiber.context.uc_stack.ss_size = fiber.stack.size();
        fiber.context.uc_link = nullptr;
        makecontext(&fiber.context, run_fiber, 0);
    }
    std::random_shuffle(order.begin(), order.end());
    for (long turns = 0; alive > 0; turns++) {
        if (turns > 1000000) { fprintf(stderr, "threads wait for each other for ever\n"); abort(); }
        for (int i : order) {
            if (fibers[i].done) continue;
            current = i;
            threadIdx.x = i;
            resume(fibers[i]);
        }
    }
}

static void __syncthreads() {
    unsigned turn = barrier_turn;
    if (++waiting == threads) { waiting = 0; barrier_turn++; }
    while (barrier_turn == turn) yield();
}

static int __syncthreads_count(bool value) {
    int side = barrier_turn & 1;
    if (waiting == 0) counted[side] = 0;
    counted[side] += value;
    __syncthreads();
    return counted[side];
}

static unsigned long long* meet(unsigned mask, unsigned long long value) {
    Meeting& meeting = warps[current / 32][mask];
    unsigned turn = meeting.turn, side = turn & 1;
    meeting.values[side][current % 32] = value;
    if (++meeting.arrived == __popc(mask)) { meeting.arrived = 0; meeting.turn++; }
    while (meeting.turn == turn) yield();
    return meeting.values[side];
}

#define LANE (current % 32)
template <class T> static T __shfl_sync(unsigned mask, T value, int lane) {
    return bits<T>(meet(mask, bits<unsigned long long>(value))[lane]);
}
template <class T> static T __shfl_xor_sync(unsigned mask, T value, int step) { return __shfl_sync(mask, value, LANE ^ step); }
template <class T> static T __shfl_up_sync(unsigned mask, T value, int step) {
    return __shfl_sync(mask, value, LANE >= step ? LANE - step : LANE);
}
template <class T> static T __shfl_down_sync(unsigned mask, T value, int step) {
    return __shfl_sync(mask, value, LANE + step < 32 ? LANE + step : LANE);
}
static unsigned __match_any_sync(unsigned mask, unsigned value) {
    unsigned long long* all = meet(mask, value);
    unsigned same = 0;
    for (int i = 0; i < 32; i++) if (mask >> i & 1 && all[i] == value) same |= 1u << i;
    return same;
}
static unsigned __ballot_sync(unsigned mask, bool value) {
    unsigned long long* all = meet(mask, value);
    unsigned votes = 0;
    for (int i = 0; i < 32; i++) if (mask >> i & 1 && all[i]) votes |= 1u << i;
    return votes;
}
static bool __any_sync(unsigned mask, bool value) { return __ballot_sync(mask, value) != 0; }
static unsigned __reduce_min_sync(unsigned mask, unsigned value) {
    unsigned long long* all = meet(mask, value);
    return (unsigned)*std::min_element(all, all + 32);
}
static unsigned __reduce_max_sync(unsigned mask, unsigned value) {
    unsigned long long* all = meet(mask, value);
    return (unsigned)*std::max_element(all, all + 32);
}
template <class T, class U> static T atomicAdd(T* place, U value) {
    T before = *place;
    *place += value;
    return before;
}
template <class T> static T atomicMax(T* place, T value) {
    T before = *place;
    *place = max(before, value);
    return before;
}
