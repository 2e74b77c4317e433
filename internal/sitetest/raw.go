package sitetest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Raw sends bytes as they are and returns the whole answer; the status is 0 if there is none. A server that answers
// before it has read everything may reset the connection, and with it its answer, so it is asked a few times.
func (w *World) Raw(request string) (status int, answer string) {
	w.T.Helper()
	for range 5 {
		if status, answer = w.rawOnce(request); status != 0 {
			break
		}
	}
	return status, answer
}

func (w *World) rawOnce(request string) (status int, answer string) {
	w.T.Helper()
	conn, err := net.DialTimeout("tcp", "localhost:"+w.Port, 5*time.Second)
	must(w.T, err)
	defer conn.Close() //nolint:errcheck // nothing to be done
	must(w.T, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, _ = io.WriteString(conn, request) // what matters is the answer
	method, _, _ := strings.Cut(request, " ")
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return 0, ""
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(body)
}

// RawGet asks for a target as it is written.
func (w *World) RawGet(target string, headers ...string) (int, string) {
	w.T.Helper()
	head := fmt.Sprintf("GET %s HTTP/1.1\r\nConnection: close\r\n", target)
	host := "Host: localhost:" + w.Port + "\r\n"
	for _, header := range headers {
		if strings.HasPrefix(header, "Host:") {
			host = ""
		}
		head += header + "\r\n"
	}
	return w.Raw(head + host + "\r\n")
}
