package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"reflect"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-axra/paywall/internal/admin"
)

// operationCommand makes the command of an operation.
func operationCommand(o admin.Operation, name string) *cobra.Command {
	cmd := &cobra.Command{Use: name, Short: o.Short, Long: o.Short + ".\n\n" + o.Long, Args: namedArgs}
	var request any
	var arguments []any
	var file string
	isUpload, isDownload := o.NewRequest == nil, o.NewAnswer == nil
	if !isUpload {
		request = o.NewRequest()
		arguments = bind(cmd, request)
	}
	if isUpload || isDownload {
		cmd.Use += " <file>"
		arguments = append(arguments, &file)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		for i, arg := range args {
			switch target := arguments[i].(type) {
			case *string:
				*target = arg
			case *[]byte:
				if *target, err = readInput(cmd, arg); err != nil {
					return err
				}
			}
		}
		raw, err := json.Marshal(request)
		sent := io.NopCloser(bytes.NewReader(raw))
		if isUpload {
			sent, err = openInput(cmd, file)
		}
		if err != nil {
			return err
		}
		defer sent.Close()
		body, err := call(cmd, o.Path(), sent)
		if err != nil {
			return err
		}
		defer body.Close()
		if isDownload {
			err = save(cmd, body, file)
		} else {
			err = printAnswer(cmd, body, o.NewAnswer())
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return errors.New("the answer was cut off: see Caddy's log")
		}
		return err
	}
	return cmd
}

// namedArgs wants as many arguments as a command names.
func namedArgs(cmd *cobra.Command, args []string) error {
	names := strings.Fields(cmd.Use)[1:]
	if len(args) < len(names) {
		return fmt.Errorf("%s is missing: write %s", names[len(args)], cmd.UseLine())
	}
	return cobra.ExactArgs(len(names))(cmd, args)
}

// bind makes flags of the fields of a request, whose values are the defaults, and arguments of those without help.
func bind(cmd *cobra.Command, request any) (arguments []any) {
	fields := reflect.ValueOf(request).Elem()
	for i := range fields.NumField() {
		tag := fields.Type().Field(i).Tag
		name, _, _ := strings.Cut(tag.Get("json"), ",")
		help, target := tag.Get("help"), fields.Field(i).Addr().Interface()
		if help == "" {
			cmd.Use += " <" + name + ">"
			arguments = append(arguments, target)
			continue
		}
		switch target := target.(type) {
		case *string:
			cmd.Flags().StringVar(target, name, *target, help)
		case *bool:
			cmd.Flags().BoolVar(target, name, *target, help)
		case *int:
			cmd.Flags().IntVar(target, name, *target, help)
		}
	}
	return arguments
}

// call calls the admin API; an answer that is no success is an error. The caller closes the answer.
func call(cmd *cobra.Command, path string, body io.Reader) (io.ReadCloser, error) {
	address, err := caddycmd.DetermineAdminAPIAddress(flag(cmd, "address"), nil, flag(cmd, "config"), flag(cmd, "adapter"))
	if err != nil {
		return nil, err
	}
	response, err := caddycmd.AdminAPIRequest(address, http.MethodPost, path, nil, body)
	if err == nil {
		return response.Body, nil
	}
	if strings.HasPrefix(err.Error(), "performing request") {
		return nil, fmt.Errorf("the admin API at %s cannot be reached: is Caddy running? If its address is another, add --address or --config: %w", address, err)
	}
	// Caddy puts the status and the JSON of the answer into the words of the error.
	var answer struct{ Error string }
	if _, said, _ := strings.Cut(err.Error(), ": {"); json.Unmarshal([]byte("{"+said), &answer) == nil && answer.Error != "" {
		err = errors.New(clean(answer.Error))
	}
	return nil, err
}

// printAnswer prints the JSON of an answer as it is for programs, or as text.
func printAnswer(cmd *cobra.Command, body io.Reader, answer any) error {
	if isSet(cmd, "json") {
		_, err := io.Copy(cmd.OutOrStdout(), body)
		return err
	}
	if err := json.NewDecoder(body).Decode(answer); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	printValue(cmd, reflect.ValueOf(answer).Elem().Interface())
	return nil
}

// save writes an answer to the standard output, or to a new file, which remains only if it is complete and on disk.
func save(cmd *cobra.Command, body io.Reader, name string) error {
	if name == "-" {
		_, err := io.Copy(cmd.OutOrStdout(), body)
		return err
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the operator names it
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists: remove it, or name another file", name)
	}
	if err != nil {
		return err
	}
	size, err := io.Copy(file, body)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%d bytes written to %s\n", size, name)
	return nil
}

// openInput opens a file, or the standard input for "-".
func openInput(cmd *cobra.Command, name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(cmd.InOrStdin()), nil
	}
	return os.Open(name) //nolint:gosec // the operator names it
}

// readInput reads a file, or the standard input for "-".
func readInput(cmd *cobra.Command, name string) ([]byte, error) {
	input, err := openInput(cmd, name)
	if err != nil {
		return nil, err
	}
	defer input.Close()
	return io.ReadAll(input)
}
