// A static program that starts others and reads files, by names that no zero byte ends.
package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

var places = []string{"/usr/share/late-a1", "/usr/share/late-b2", "/usr/share/late-c3"}

func answer(w http.ResponseWriter, data []byte, err error) {
	if err != nil {
		http.Error(w, err.Error(), 500)
		return
	}
	w.Write(data)
}

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("home")) })
	http.HandleFunc("/gzip", func(w http.ResponseWriter, r *http.Request) {
		data, err := exec.Command("gzip", "--version").Output()
		answer(w, data, err)
	})
	http.HandleFunc("/shell", func(w http.ResponseWriter, r *http.Request) {
		data, err := exec.Command("sh", "-c", "seq 3 | tac").Output()
		answer(w, data, err)
	})
	http.HandleFunc("/variable", func(w http.ResponseWriter, r *http.Request) {
		words := strings.Fields(os.Getenv("REPORT"))
		data, err := exec.Command(words[0], words[1:]...).Output()
		answer(w, data, err)
	})
	http.HandleFunc("/paths", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.FormValue("n"))
		data, err := os.ReadFile(filepath.Join(places[n], "x.txt"))
		answer(w, data, err)
	})
	http.HandleFunc("/beside", func(w http.ResponseWriter, r *http.Request) {
		own, _ := os.Executable()
		data, err := os.ReadFile(filepath.Join(filepath.Dir(own), "../share/served/page"))
		answer(w, data, err)
	})
	http.HandleFunc("/zone", func(w http.ResponseWriter, r *http.Request) {
		_, err := time.LoadLocation("Asia/Kathmandu")
		answer(w, []byte("zone"), err)
	})
	http.ListenAndServe(":8080", nil)
}
