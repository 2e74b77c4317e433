package page

import (
	"fmt"
	"image/color"
	"strings"

	"github.com/boombuler/barcode/qr"
)

// maxCodeAddress bounds the address of a QR code in bytes: a denser code is hard to scan from a
// screen, and makes the page slow to load.
const maxCodeAddress = 400

// code is a QR code as the path of an SVG: one unit is one module, and lines one unit wide are dark.
type code struct {
	Size int    // with the quiet zone around it
	Path string // the middle of the first line is at 0 0
}

// quiet is how many light modules a reader needs around a code.
const quiet = 4

// qrCode returns nil if there is no code to show; the link is enough.
func qrCode(address string) *code {
	if address == "" || len(address) > maxCodeAddress {
		return nil
	}
	modules, err := qr.Encode(address, qr.L, qr.Auto)
	if err != nil {
		return nil
	}
	size := modules.Bounds().Dx()
	dark := func(x, y int) bool { return x < size && modules.At(x, y) == color.Color(color.Gray16{}) }
	var path strings.Builder
	for y := range size {
		fmt.Fprintf(&path, "M0 %d", y)
		for x, end := 0, 0; x < size; x++ {
			start := x
			for dark(x, y) {
				x++
			}
			if x > start {
				fmt.Fprintf(&path, "m%d 0h%d", start-end, x-start)
				end = x
			}
		}
	}
	return &code{Size: size + 2*quiet, Path: path.String()}
}
