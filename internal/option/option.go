// Package option reads the options of Caddyfile blocks. Every error names file and line.
package option

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-axra/paywall/internal/settings"
)

// Option is an option of a block. It is read with the dispenser at its name.
type Option struct {
	Name string
	Read func(*caddyfile.Dispenser) error
}

// ReadBlock reads the options of a block, if there is one. The error for an unknown option lists all options and ends
// with the hint.
func ReadBlock(d *caddyfile.Dispenser, owner, hint string, options []Option) error {
	if d.NextArg() {
		return d.Errf("%s takes a block, not the argument %q: open it with `%s {` and write each option on a line of its own", owner, d.Val(), owner)
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		i := slices.IndexFunc(options, func(o Option) bool { return o.Name == d.Val() })
		if i < 0 {
			var names []string
			for _, o := range options {
				names = append(names, o.Name)
			}
			return d.Errf("%s has no option %q: it takes %s%s", owner, d.Val(), cmp.Or(strings.Join(names, ", "), "none"), hint)
		}
		if err := options[i].Read(d); err != nil {
			return err
		}
	}
	return nil
}

// Args returns an option whose values are passed to a function. File and line are added to its error.
func Args(name string, read func(args []string) error) Option {
	return Option{name, func(d *caddyfile.Dispenser) error {
		if err := read(d.RemainingArgs()); err != nil {
			return d.WrapErr(err)
		}
		return nil
	}}
}

// ArgsN is Args for n values. With any other number of values, the error is the usage.
func ArgsN(name string, n int, usage string, read func(args []string) error) Option {
	return Args(name, func(args []string) error {
		if len(args) != n {
			return errors.New(usage)
		}
		return read(args)
	})
}

// Value returns an option with one value, which is parsed and must pass the checks.
func Value[T comparable](name string, target *T, parse func(string) (T, error), checks ...func(T) error) Option {
	return Args(name, func(args []string) (err error) {
		var unset T
		switch {
		case len(args) != 1 || args[0] == "":
			return fmt.Errorf("%s takes exactly one value: put text with spaces in quotes", name)
		case *target != unset:
			return fmt.Errorf("%s is given twice: keep one", name)
		}
		*target, err = parse(args[0])
		for i := 0; i < len(checks) && err == nil; i++ {
			err = checks[i](*target)
		}
		return err
	})
}

// Text returns an option with one value that the checks accept.
func Text(name string, target *string, checks ...func(string) error) Option {
	return Value(name, target, func(value string) (string, error) { return value, nil }, checks...)
}

// List returns an option with one or more values that the check accepts. It may be repeated.
func List(name string, target *[]string, example string, check func(string) error) Option {
	return Args(name, func(args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("%s needs a value: write `%s %s`", name, name, example)
		}
		for _, arg := range args {
			if err := check(arg); err != nil {
				return err
			}
		}
		*target = append(*target, args...)
		return nil
	})
}

// OneOf returns an option with one of the allowed values.
func OneOf(name string, target *string, allowed ...string) Option {
	return Text(name, target, func(value string) error {
		if slices.Contains(allowed, value) {
			return nil
		}
		return fmt.Errorf("%s %s is unknown: write %s", name, value, strings.Join(allowed, " or "))
	})
}

// Secret returns an option with the placeholder of a secret.
func Secret(name string, target *string) Option {
	text := Text(name, target, func(value string) error { return settings.CheckPlaceholder(name, value) })
	return Option{name, func(d *caddyfile.Dispenser) error {
		if d.CountRemainingArgs() == 0 {
			return d.Errf("%s is empty: write `%s {env.NAME}`, which is read when Caddy starts ({$NAME} is replaced in the Caddyfile, here by nothing)", name, name)
		}
		return text.Read(d)
	}}
}

// Address returns an option with an absolute address. One with a placeholder is checked when it is resolved.
func Address(name string, target *string, withPath bool) Option {
	return Text(name, target, func(value string) error {
		if _, err := settings.BaseURL(value, withPath); err != nil && !strings.Contains(value, "{") {
			return fmt.Errorf("%s: %w", name, err) // without the address, which could hold a password
		}
		return nil
	})
}

// Duration returns an option with a length of time that the checks accept.
func Duration(name string, target *caddy.Duration, checks ...func(caddy.Duration) error) Option {
	return Value(name, target, func(value string) (caddy.Duration, error) {
		length, err := caddy.ParseDuration(value)
		if err != nil || length <= 0 {
			return 0, fmt.Errorf("%s: %q is not a length of time: write for example `%s 30s`", name, value, name)
		}
		return caddy.Duration(length), nil
	}, checks...)
}

// Number returns an option with a number of one or more.
func Number(name string, target *int, example string) Option {
	return Value(name, target, func(value string) (int, error) {
		number, err := strconv.Atoi(value)
		if err != nil || number < 1 {
			return 0, fmt.Errorf("%s %q is not a number from 1 to 1000: write `%s %s`", name, value, name, example)
		}
		return number, nil
	})
}

// Flag returns an option without a value.
func Flag(name string, target *bool) Option {
	return ArgsN(name, 0, name+" takes no value", func([]string) error {
		*target = true
		return nil
	})
}
