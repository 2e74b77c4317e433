package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/caddy-axra/paywall/internal/admin"
)

// errCutOff means that an answer broke off.
var errCutOff = errors.New("the answer was cut off: see Caddy's log")

// get calls an operation and decodes its answer.
func get(cmd *cobra.Command, o admin.Operation, request, into any) error {
	response, err := call(cmd, o, request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return json.NewDecoder(response.Body).Decode(into)
}

// call calls an operation; an answer that is no success is an error. A request that is no reader is sent as JSON. The
// caller closes the body of the answer.
func call(cmd *cobra.Command, o admin.Operation, request any) (*http.Response, error) {
	body, isReader := request.(io.Reader)
	if !isReader {
		raw, err := json.Marshal(request)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(raw)
	}
	address, err := caddycmd.DetermineAdminAPIAddress(flag(cmd, "address"), nil, flag(cmd, "config"), flag(cmd, "adapter"))
	if err != nil {
		return nil, err
	}
	response, err := caddycmd.AdminAPIRequest(address, http.MethodPost, o.Path(), nil, body)
	if err != nil && strings.HasPrefix(err.Error(), "performing request") {
		return nil, fmt.Errorf("the admin API at %s cannot be reached: is Caddy running? If its address is another, add --address or --config: %w", address, err)
	}
	return response, unpacked(err)
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

// download calls an operation whose answer goes to a file, or to the standard output.
func download(cmd *cobra.Command, o admin.Operation, name string) error {
	response, err := call(cmd, o, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if name == "-" {
		_, err = io.Copy(cmd.OutOrStdout(), response.Body)
		return err
	}
	size, err := writeWhole(name, response.Body)
	if err != nil {
		return err
	}
	written := map[string]any{"file": name, "bytes": size}
	return printAnswer(cmd, written, func(p printer, _ map[string]any) {
		p.line("%s written to %s", humanize.Bytes(uint64(max(size, 0))), name)
	})
}

// writeWhole writes a file with mode 0600, and puts it in place only when it is complete and on disk.
func writeWhole(name string, content io.Reader) (size int64, err error) {
	file, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*") // mode 0600
	if err != nil {
		return 0, err
	}
	defer os.Remove(file.Name()) //nolint:errcheck // it was renamed if all went well
	size, err = io.Copy(file, content)
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return 0, err
	}
	return size, os.Rename(file.Name(), name)
}

// upload calls an operation whose request is a file, or the standard input.
func upload(cmd *cobra.Command, o admin.Operation, name string) error {
	input := cmd.InOrStdin()
	if name != "-" {
		file, err := os.Open(name) //nolint:gosec // the operator names it
		if err != nil {
			return err
		}
		defer file.Close() //nolint:errcheck // it was only read
		input = file
	}
	// A copy of a ledger in use lacks what is in its write-ahead log.
	if info, err := os.Stat(name + "-wal"); err == nil && info.Size() > 0 {
		return fmt.Errorf("%s-wal belongs to it, so it is no backup: make one with caddy axra backup", name)
	}
	response, err := call(cmd, o, input)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return printBody(cmd, o, response.Body)
}
