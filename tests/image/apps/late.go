// A static server whose routes look something up late.
package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"mime"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"time"
)

// certificates counts those that TLS would trust.
func certificates() (string, error) {
	if _, err := x509.SystemCertPool(); err != nil {
		return "", err
	}
	data, err := os.ReadFile("/etc/ssl/certs/ca-certificates.crt")
	count := 0
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		count++
	}
	return fmt.Sprint(count), err
}

func zone() (string, error) {
	place, err := time.LoadLocation("Asia/Kathmandu")
	if err != nil {
		return "", err
	}
	return time.Unix(0, 0).In(place).String(), nil
}

func names() (string, error) {
	nobody, err := user.Lookup("nobody")
	if err != nil {
		return "", err
	}
	found, err := net.LookupHost("localhost")
	return fmt.Sprint(nobody.Uid, found), err
}

func beside() (string, error) {
	here, err := os.Executable()
	if err != nil {
		return "", err
	}
	data, err := os.ReadFile(filepath.Join(filepath.Dir(here), "..", "share", "text"))
	return string(data), err
}

func config() (string, error) {
	data, err := os.ReadFile("/etc/late-go.conf")
	return string(data), err
}

func kind() (string, error) { return mime.TypeByExtension(".late"), nil }

func main() {
	for name, route := range map[string]func() (string, error){
		"certificates": certificates, "zone": zone, "names": names, "beside": beside,
		"config": config, "kind": kind,
	} {
		route := route
		http.HandleFunc("/"+name, func(w http.ResponseWriter, r *http.Request) {
			text, err := route()
			if err != nil {
				http.Error(w, err.Error(), 500)
				return
			}
			fmt.Fprintln(w, text)
		})
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "hello") })
	if err := http.ListenAndServe(":8000", nil); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
