package main

import (
	"math"
	"math/rand/v2"
	"sync"
)

// gamma draws by Marsaglia and Tsang (2000).
func gamma(random *rand.Rand, shape float64) float64 {
	if shape < 1 {
		return gamma(random, shape+1) * math.Pow(random.Float64(), 1/shape)
	}
	d := shape - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		x := random.NormFloat64()
		v := (1 + c*x) * (1 + c*x) * (1 + c*x)
		if v <= 0 {
			continue
		}
		u := random.Float64()
		if u < 1-0.0331*x*x*x*x || math.Log(u) < x*x/2+d*(1-v+math.Log(v)) {
			return d * v
		}
	}
}

var generators = sync.Pool{New: func() any { return rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())) }}

func drawInGo(a, b, out []float64) {
	random := generators.Get().(*rand.Rand)
	defer generators.Put(random)
	for i := range a {
		x, y := gamma(random, a[i]), gamma(random, b[i])
		out[i] = x / (x + y)
	}
}
