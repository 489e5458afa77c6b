package registry

import (
	"encoding/base64"
	"encoding/json"

	"github.com/coulomb/artifact-store/pkg/digest"
)

// PackagePageLimit is how many packages a page has if this limit is asked for.
// *InvalidError on "limit".
func PackagePageLimit(asked int) (int, error) {
	return pageLimit(asked, DefaultPackagePage, MaxPackagePage)
}

func pageLimit(asked, usual, most int) (int, error) {
	if asked < 0 || asked > most {
		return 0, Invalid("limit", "must be 1 to %d, is %d", most, asked)
	}
	if asked == 0 {
		return usual, nil
	}
	return asked, nil
}

// EventPageLimit is PackagePageLimit for events.
func EventPageLimit(asked int) (int, error) {
	return pageLimit(asked, DefaultEventPage, MaxEventPage)
}

// PackageCursor is the Next of a page of packages that ends with this one. It
// is opaque to clients: base64url of a JSON array.
func PackageCursor(last PackageRef) string {
	data, _ := json.Marshal([]string{last.Producer, last.Name, last.Version}) // strings always encode
	return base64.RawURLEncoding.EncodeToString(data)
}

// CursorAt is an After that makes a listing begin at a producer's first package.
func CursorAt(producer string) string { return PackageCursor(PackageRef{Producer: producer}) }

// CursorProducer returns the producer at which a listing continues, "" for the
// start. *InvalidError on "after".
func CursorProducer(cursor string) (string, error) {
	after, err := ParsePackageCursor(cursor)
	if after == nil {
		return "", err
	}
	return after.Producer, err
}

// ParsePackageCursor reads a PackageCursor; nil for "". Name and version are "" in one of
// CursorAt. *InvalidError on "after".
func ParsePackageCursor(text string) (*PackageRef, error) {
	if text == "" {
		return nil, nil
	}
	var parts []string
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		err = json.Unmarshal(data, &parts)
	}
	invalid := Invalid("after", "%.80q is not the \"next\" of an earlier page", text)
	if err != nil || len(parts) != 3 || ValidateName("producer", parts[0]) != nil {
		return nil, invalid
	}
	ref := PackageRef{parts[0], parts[1], parts[2]}
	if first := ref.Name == "" && ref.Version == ""; !first && ref.Validate() != nil {
		return nil, invalid
	}
	return &ref, nil
}

// FilePageLimit is PackagePageLimit for files.
func FilePageLimit(asked int) (int, error) { return pageLimit(asked, MaxFilePage, MaxFilePage) }

// FileCursor is the Next of a page of files that ends with this one. It is opaque to clients.
func FileCursor(last string) string { return base64.RawURLEncoding.EncodeToString([]byte(last)) }

// ParseFileCursor reads a FileCursor; "" for "". *InvalidError on "after".
func ParseFileCursor(text string) (string, error) {
	path, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || text != "" && ValidatePath("after", string(path)) != nil {
		return "", Invalid("after", "%.80q is not the \"next\" of an earlier page", text)
	}
	return string(path), nil
}

// UseCursor is the Next of a page of uses that ends with this one. It is opaque to clients.
func UseCursor(last Use) string {
	data, _ := json.Marshal([]any{last.Producer, last.Position, last.Path}) // strings and numbers always encode
	return base64.RawURLEncoding.EncodeToString(data)
}

// ParseUseCursor reads a UseCursor; nil for "". Only its producer, position and path are
// known. *InvalidError on "after".
func ParseUseCursor(text string) (*Use, error) {
	if text == "" {
		return nil, nil
	}
	use, parts := Use{}, []any{}
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		parts = []any{&use.Producer, &use.Position, &use.Path}
		err = json.Unmarshal(data, &parts)
	}
	if err != nil || len(parts) != 3 || ValidateName("after", use.Producer) != nil || use.Path != "" && ValidatePath("after", use.Path) != nil {
		return nil, Invalid("after", "%.80q is not the \"next\" of an earlier page", text)
	}
	return &use, nil
}

// LocationCursor is where a listing of locations continues. It is opaque to
// clients: base64url of JSON.
type LocationCursor struct {
	// UpTo and AsOf are the log's position and the last finding (microseconds since
	// 1970, 0 if there was none) when the listing began: what is found later does not come again.
	UpTo uint64 `json:"u"`
	AsOf *int64 `json:"t"` // nil in a cursor of an earlier version
	// Checked, in microseconds since 1970, Changed, a position of the log, and SHA256 are of
	// the last location of the page. Without Changed, in a cursor of an earlier version,
	// some locations may come again.
	Checked int64         `json:"m"`
	Changed uint64        `json:"c,omitempty"`
	SHA256  digest.Digest `json:"d"`
}

func (c LocationCursor) String() string {
	text, err := json.Marshal(c)
	if err != nil {
		panic(err) // of numbers and a digest
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// ParseLocationCursor reads a LocationCursor; nil for "". *InvalidError on "after".
func ParseLocationCursor(cursor string) (*LocationCursor, error) {
	if cursor == "" {
		return nil, nil
	}
	var c LocationCursor
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil || c.SHA256.Algorithm() != digest.SHA256 {
		return nil, Invalid("after", "is not the next of a page of locations")
	}
	return &c, nil
}
