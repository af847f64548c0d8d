package main

// #cgo CXXFLAGS: -O3 -std=c++20
// #cgo LDFLAGS: -lstdc++
// #include <stddef.h>
// void draw_with_fresh_generators(const double* a, const double* b, double* out, size_t count,
//                                 unsigned seed);
import "C"

import (
	"math/rand/v2"
	"unsafe"
)

func pointer(values []float64) *C.double { return (*C.double)(unsafe.Pointer(&values[0])) }

// drawByBoost is the article's sampler: a fresh Mersenne Twister for each draw.
func drawByBoost(a, b, out []float64) {
	if len(a) > 0 {
		seed := C.uint(rand.Uint32())
		C.draw_with_fresh_generators(pointer(a), pointer(b), pointer(out), C.size_t(len(a)), seed)
	}
}
