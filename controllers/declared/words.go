package declared

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// words puts what the library says into what the rules of our own schema say.
var words = []struct {
	found *regexp.Regexp
	say   string
}{
	{regexp.MustCompile(`^should be at least 1 chars long$`), "must not be empty"},
	{regexp.MustCompile(`^should be at least (\d+) chars long$`), "must be at least $1 characters"},
	{regexp.MustCompile(`^should be greater than or equal to `), "must be at least "},
	{regexp.MustCompile(`^should be less than or equal to `), "must be at most "},
	{regexp.MustCompile(`^should have at least (\d+) items$`), "at least $1 must be given"},
	{regexp.MustCompile(`^must be of type int(32|64): "\w+"$`), "must be an integer of $1 bits"},
	{regexp.MustCompile(`^Checked value must be of type integer with format int(32|64) in (.*)$`), "$2: must be an integer of $1 bits"},
	{regexp.MustCompile(`^must be of type (\w+): "(\w+)"$`), "must be of type $1, is $2"},
	{regexp.MustCompile(`^a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '\.', and must start and end with an alphanumeric character`),
		"must consist of lower-case letters, digits, '-' and '.', and start and end with a letter or digit"},
	// The rule cannot be evaluated for such a value, and the error has only its type.
	{regexp.MustCompile(`^unknown time zone (.*) evaluating rule: `), `"$1" `},
	// The pattern of a quantity is no help to a reader.
	{regexp.MustCompile(`^should match '\^\(\\\+\|-\)\?\(\(\[0-9\]\+.*$`), "must be a quantity, for example 500m or 64Mi"},
	{regexp.MustCompile(` \(e\.g\. .*regex used for validation is .*$`), ""},
}

// exponent is a large number as the library prints it.
var exponent = regexp.MustCompile(`\b\d(\.\d+)?e\+\d+$`)

// inWords is one line: the field, the value where that helps, the reason.
func inWords(err *field.Error) string {
	detail := strings.TrimPrefix(err.Detail, err.Field+" in body ")
	for _, w := range words {
		detail = w.found.ReplaceAllString(detail, w.say)
	}
	detail = exponent.ReplaceAllStringFunc(detail, func(text string) string {
		number, _ := strconv.ParseFloat(text, 64)
		return strconv.FormatFloat(number, 'f', -1, 64)
	})
	switch err.Type {
	case field.ErrorTypeRequired:
		detail = strings.TrimSpace("must be set " + detail)
	case field.ErrorTypeNotSupported:
		detail = shown(err.BadValue) + "must be one of " + strings.TrimPrefix(detail, "supported values: ")
	case field.ErrorTypeInvalid:
		switch value := shown(err.BadValue); {
		case strings.HasPrefix(detail, "must "):
			detail = value + detail
		case strings.HasPrefix(detail, "the ") && value != "": // a part of it
			detail = strings.TrimSuffix(value, " ") + ": " + detail
		}
	}
	if err.Field == "" || err.Field == "<nil>" {
		return detail
	}
	return err.Field + ": " + detail
}

// shown is a value as a message shows it; "" for one that it does not show: an
// object, nothing, or a URL, which may hold a password.
func shown(value any) string {
	switch value := value.(type) {
	case string:
		if value == "" || strings.Contains(value, "@") || strings.Contains(value, "//") {
			return ""
		}
		return fmt.Sprintf("%.80q ", value)
	case int64, float64:
		return fmt.Sprintf("%v ", value)
	}
	return ""
}
