package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-axra/paywall/internal/admin"
)

var (
	// errNoAdmin means that nothing answers at the address of the admin API.
	errNoAdmin = errors.New("the admin API cannot be reached: is Caddy running? If its address is not the usual one, add --address or --config")
	// errCutOff means that an answer lacks its last line or its checksum.
	errCutOff = errors.New("the answer was cut off: see Caddy's log")
)

// run calls an operation and prints its answer: JSON for programs, or else what show prints.
func run[Request, Answer any](cmd *cobra.Command, o admin.Operation[Request, Answer], request Request, show func(printer, Answer)) error {
	return runLong(cmd, "", o, request, show)
}

// runLong is run with a progress line.
func runLong[Request, Answer any](cmd *cobra.Command, what string, o admin.Operation[Request, Answer], request Request, show func(printer, Answer)) error {
	var answer Answer
	err := withProgress(cmd, what, func(p *progress) error { return get(cmd, o, request, p, &answer) })
	if err != nil {
		return err
	}
	return printAnswer(cmd, answer, show)
}

// get calls an operation and decodes its answer.
func get[Request, Answer any](cmd *cobra.Command, o admin.Operation[Request, Answer], request Request, p *progress, into *Answer) error {
	response, err := call(cmd, o, request, p)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		return fmt.Errorf("reading the answer of the admin API: %w", err)
	}
	return nil
}

// call calls an operation; an answer that is no success is an error. Progress counts the bytes of a body that is
// sent. The caller closes the body of the answer.
func call[Request, Answer any](cmd *cobra.Command, o admin.Operation[Request, Answer], request Request, p *progress) (*http.Response, error) {
	path, body, err := encode(o.Endpoint, request, p)
	if err != nil {
		return nil, err
	}
	address, err := caddycmd.DetermineAdminAPIAddress(flag(cmd, "address"), nil, flag(cmd, "config"), flag(cmd, "adapter"))
	if err != nil {
		return nil, err
	}
	response, err := caddycmd.AdminAPIRequest(address, o.Method, path, nil, body)
	if err != nil && strings.HasPrefix(err.Error(), "performing request") {
		return nil, fmt.Errorf("%w (%s): %w", errNoAdmin, address, err)
	}
	return response, unpacked(err)
}

// encode puts a request into the query of a GET, or else into the body.
func encode(o admin.Endpoint, request any, p *progress) (path string, body io.Reader, err error) {
	path = admin.Base + o.Path
	switch request := request.(type) {
	case admin.None:
		return path, nil, nil
	case io.Reader:
		if file, ok := request.(*os.File); ok {
			if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
				p.total.Store(info.Size())
			}
		}
		return path, p.reader(request), nil
	}
	raw, err := json.Marshal(request)
	if err != nil || o.Method != http.MethodGet {
		return path, bytes.NewReader(raw), err
	}
	var fields map[string]string
	if err := json.Unmarshal(raw, &fields); err != nil {
		return path, nil, err
	}
	query := make(url.Values)
	for name, value := range fields {
		query.Set(name, value)
	}
	return path + "?" + query.Encode(), nil, nil
}

// unpacked takes an error of the admin API out of the JSON that Caddy has put it in.
func unpacked(err error) error {
	if err == nil {
		return nil
	}
	_, answer, _ := strings.Cut(err.Error(), "caddy responded with error: HTTP ")
	_, body, _ := strings.Cut(answer, ": ")
	var said struct {
		Error string `json:"error"`
	}
	if json.Unmarshal([]byte(body), &said) != nil || said.Error == "" {
		return err
	}
	return errors.New(clean(said.Error))
}
