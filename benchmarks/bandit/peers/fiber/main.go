// A peer of serving.py: Fiber with prefork. `peer PORT POSTERIORS.csv article|best`:
// encoding/json and cgo to Boost, as the article has it, or sonic and a sampler in Go.
package main

import (
	"cmp"
	"encoding/csv"
	"encoding/json"
	"log"
	"os"
	"slices"
	"strconv"
	"sync"

	"github.com/bytedance/sonic"
	"github.com/gofiber/fiber/v2"
)

type query struct {
	Candidates []string `json:"candidates"`
	K          int      `json:"k"`
}

type answer struct {
	Arms   []string  `json:"arms"`
	Scores []float64 `json:"scores"`
}

type beta struct{ a, b float64 }

type scratch struct {
	a, b, draws []float64
	order       []int
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

func (s *scratch) resize(n int) {
	if cap(s.a) < n {
		*s = scratch{make([]float64, n), make([]float64, n), make([]float64, n), make([]int, n)}
	}
	s.a, s.b, s.draws, s.order = s.a[:n], s.b[:n], s.draws[:n], s.order[:n]
}

func load(path string) map[string]beta {
	file, err := os.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		log.Fatal(err)
	}
	table := make(map[string]beta, len(rows))
	for _, row := range rows[1:] {
		a, _ := strconv.ParseFloat(row[2], 64)
		b, _ := strconv.ParseFloat(row[3], 64)
		table[row[1]] = beta{a, b}
	}
	return table
}

func predict(table map[string]beta, draw func(a, b, out []float64)) fiber.Handler {
	return func(c *fiber.Ctx) error {
		asked := query{K: 10}
		if err := c.BodyParser(&asked); err != nil {
			return c.SendStatus(fiber.StatusBadRequest)
		}
		s := scratches.Get().(*scratch)
		defer scratches.Put(s)
		s.resize(len(asked.Candidates))
		for i, arm := range asked.Candidates {
			found, ok := table[arm]
			if !ok {
				found = beta{1, 1}
			}
			s.a[i], s.b[i], s.order[i] = found.a, found.b, i
		}
		draw(s.a, s.b, s.draws)
		slices.SortFunc(s.order, func(i, j int) int { return cmp.Compare(s.draws[j], s.draws[i]) })
		k := min(asked.K, len(s.order))
		best := answer{make([]string, k), make([]float64, k)}
		for place, i := range s.order[:k] {
			best.Arms[place], best.Scores[place] = asked.Candidates[i], s.draws[i]
		}
		return c.JSON(best)
	}
}

func main() {
	draw := drawInGo
	config := fiber.Config{
		Prefork: true, DisableStartupMessage: true, BodyLimit: 1 << 24,
		JSONEncoder: sonic.ConfigFastest.Marshal, JSONDecoder: sonic.ConfigFastest.Unmarshal,
	}
	if os.Args[3] == "article" {
		draw = drawByBoost
		config.JSONEncoder, config.JSONDecoder = json.Marshal, json.Unmarshal
	}
	app := fiber.New(config)
	app.Get("/health", func(c *fiber.Ctx) error { return c.SendString("ok") })
	app.Post("/predict", predict(load(os.Args[2]), draw))
	log.Fatal(app.Listen("127.0.0.1:" + os.Args[1]))
}
