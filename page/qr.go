package page

import (
	"image/color"
	"strconv"

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
	var path []byte
	for y := range size {
		end := -1 // of the run before, in this line
		for x := 0; x < size; x++ {
			if !dark(x, y) {
				continue
			}
			start := x
			for dark(x, y) {
				x++
			}
			if end < 0 {
				path = strconv.AppendInt(append(path, 'M'), int64(start), 10)
				path = strconv.AppendInt(append(path, ' '), int64(y), 10)
			} else {
				path = strconv.AppendInt(append(path, 'm'), int64(start-end), 10)
				path = append(path, " 0"...)
			}
			path = strconv.AppendInt(append(path, 'h'), int64(x-start), 10)
			end = x
		}
	}
	return &code{Size: size + 2*quiet, Path: string(path)}
}
