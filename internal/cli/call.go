package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
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
