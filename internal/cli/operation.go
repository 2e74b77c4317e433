package cli

import (
	"errors"
	"io"
	"reflect"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddy-axra/paywall/internal/admin"
)

// operationCommand makes the command of an operation. It is called by the last word of the name.
func operationCommand(o admin.Operation) *cobra.Command {
	cmd := &cobra.Command{
		Use: o.Name[strings.LastIndexByte(o.Name, ' ')+1:], Short: o.Short, Long: o.Short + ".\n\n" + o.Long, Example: o.Example,
	}
	request := o.NewRequest()
	arguments := bind(cmd, request)
	var file string
	if o.Form == admin.Download || o.Form == admin.Upload {
		cmd.Use += " <file>"
		arguments = append(arguments, &file)
	}
	cmd.Args = cobra.ExactArgs(len(arguments))
	if o.CSV {
		cmd.Flags().Bool("csv", false, "Print comma-separated values")
	}
	if o.Confirm != "" {
		cmd.Flags().Bool("yes", false, "Do it all the same")
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if o.Confirm != "" && !isSet(cmd, "yes") {
			return errors.New(o.Confirm)
		}
		for i, arg := range args {
			*arguments[i] = arg
		}
		err := run(cmd, o, request, file)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return errCutOff
		}
		if err == nil && o.Note != "" && !wantsJSON(cmd) {
			printerOf(cmd).note("%s", o.Note)
		}
		return err
	}
	return cmd
}

// bind makes flags of the fields of a request, and arguments of those without help.
func bind(cmd *cobra.Command, request any) (arguments []*string) {
	fields := reflect.ValueOf(request).Elem()
	for i := range fields.NumField() {
		tag := fields.Type().Field(i).Tag
		name, _, _ := strings.Cut(tag.Get("json"), ",")
		switch target := fields.Field(i).Addr().Interface().(type) {
		case *string:
			if tag.Get("help") == "" {
				cmd.Use += " <" + name + ">"
				arguments = append(arguments, target)
				continue
			}
			cmd.Flags().StringVar(target, name, "", tag.Get("help"))
		case *bool:
			cmd.Flags().BoolVar(target, name, false, tag.Get("help"))
		case *int:
			standard, _ := strconv.Atoi(tag.Get("default"))
			cmd.Flags().IntVar(target, name, standard, tag.Get("help"))
		}
	}
	return arguments
}

// run calls an operation and prints its answer.
func run(cmd *cobra.Command, o admin.Operation, request any, file string) error {
	switch o.Form {
	case admin.Download:
		return download(cmd, o, file)
	case admin.Upload:
		return upload(cmd, o, file)
	}
	response, err := call(cmd, o, request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return printBody(cmd, o, response.Body)
}
