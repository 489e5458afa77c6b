package manifest

import (
	"fmt"
	"io/fs"
	"strconv"
)

// Mode is the permission bits of a file or folder (0000 to 0777), if they are recorded:
// the zero value says nothing of them. In text it is four octal digits.
type Mode uint16

// recorded tells the mode 0000 from none.
const recorded Mode = 1 << 15

// ModeOf records the permission bits of mode. The others, such as setuid, are not recorded.
func ModeOf(mode fs.FileMode) Mode { return recorded | Mode(mode.Perm()) }

// Recorded reports whether there is one.
func (m Mode) Recorded() bool { return m != 0 }

// Perm returns the permission bits.
func (m Mode) Perm() fs.FileMode { return fs.FileMode(m &^ recorded) }

// Executable reports whether somebody may execute the file.
func (m Mode) Executable() bool { return m&0o111 != 0 }

func (m Mode) String() string {
	if !m.Recorded() {
		return ""
	}
	return fmt.Sprintf("%04o", uint16(m&^recorded))
}

// MarshalText returns the text form for JSON and YAML.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads the text form; "" is no mode.
func (m *Mode) UnmarshalText(text []byte) error {
	*m = 0
	if len(text) == 0 {
		return nil
	}
	bits, err := strconv.ParseUint(string(text), 8, 16)
	if err != nil || len(text) != 4 || bits > 0o777 {
		return invalid("mode", "%.20q must be four octal digits, at most 0777", text)
	}
	*m = recorded | Mode(bits)
	return nil
}

// wire is the number that is encoded, nil for none.
func (m Mode) wire() *int64 {
	if !m.Recorded() {
		return nil
	}
	bits := int64(m &^ recorded)
	return &bits
}

func (m Mode) encodedSize() int {
	if !m.Recorded() {
		return 0
	}
	return len("_mode") + headSize(int64(m&^recorded))
}

func modeOf(bits *int64, field string) (Mode, error) {
	switch {
	case bits == nil:
		return 0, nil
	case *bits < 0 || *bits > 0o777:
		return 0, invalid(field, "must be 0 to 511 (0777), is %d", *bits)
	}
	return recorded | Mode(*bits), nil
}
