package upload

import (
	"context"
	"database/sql"
	"errors"
	"slices"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/manifest"
)

// UnknownSize is the size of a file that was declared without one.
const UnknownSize int64 = -1

// File is a declared file.
type File struct {
	Path       string
	Size       int64       // UnknownSize until known
	Digests    digest.Dual // as far as known
	Executable bool
	MediaType  string
}

// Blob sources.
const (
	SourceSent   = "sent"
	SourceReused = "reused"
	SourceHere   = "here" // reused, and in the placement when it was declared
	SourceHeld   = "held" // sent and compared, but not written: the placement had it
)

// Blob is content that the session has.
type Blob struct {
	Digests digest.Dual
	Size    int64
	Source  string
}

var fileNames = []string{"upload_id", "path", "folded", "size", "sha256", "blake3", "executable", "media_type"}

func (f *File) row(id string) []any {
	executable := 0
	if f.Executable {
		executable = 1
	}
	return []any{id, f.Path, manifest.FoldPath(f.Path), f.Size, nullable(f.Digests.SHA256), nullable(f.Digests.BLAKE3), executable, f.MediaType}
}

// filesAtOnce are turned into rows: a session may have 100,000.
const filesAtOnce = 4000

// InsertFiles declares files, none of which may be declared yet.
func InsertFiles(ctx context.Context, tx database.Tx, id string, files []File) error {
	rows := make([][]any, 0, min(filesAtOnce, len(files)))
	for chunk := range slices.Chunk(files, filesAtOnce) {
		rows = rows[:0]
		for _, f := range chunk {
			rows = append(rows, f.row(id))
		}
		if _, err := database.InsertRows(ctx, tx, "upload_files", fileNames, rows, ""); err != nil {
			return err
		}
	}
	return count(ctx, tx, id, int64(len(files)), TextsOf(files))
}

// InsertStored declares one file whose content is known. It returns false if its path, or
// one that is equal to it, is declared.
func InsertStored(ctx context.Context, tx database.Tx, id string, f File) (bool, error) {
	n, err := database.InsertRows(ctx, tx, "upload_files", fileNames, [][]any{f.row(id)}, "ON CONFLICT DO NOTHING")
	if err != nil || n == 0 {
		return false, err
	}
	return true, count(ctx, tx, id, 1, TextsOf([]File{f}))
}

// SetContent records the content of a file that was declared without digests. It
// returns false if other bytes came first.
func SetContent(ctx context.Context, tx database.Tx, id, path string, size int64, digests digest.Dual) (bool, error) {
	result, err := tx.ExecContext(ctx, `UPDATE upload_files SET size = $1, sha256 = $2, blake3 = $3
		WHERE upload_id = $4 AND path = $5 AND (sha256 IS NULL OR sha256 = $2)`,
		size, digests.SHA256.Bytes(), digests.BLAKE3.Bytes(), id, path)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n == 1, err
}

// SetSize records the size of a file that was declared without one.
func SetSize(ctx context.Context, tx database.Tx, id, path string, size int64) error {
	_, err := tx.ExecContext(ctx, `UPDATE upload_files SET size = $1 WHERE upload_id = $2 AND path = $3 AND size = -1`, size, id, path)
	return err
}

// Undeclare removes files of which only the path is known.
func Undeclare(ctx context.Context, tx database.Tx, id string, paths []string) error {
	for _, path := range paths {
		result, err := tx.ExecContext(ctx, `DELETE FROM upload_files WHERE upload_id = $1 AND path = $2 AND sha256 IS NULL`, id, path)
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		if err == nil && n > 0 {
			err = count(ctx, tx, id, -n, -int64(len(path)))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// InsertBlobs records content that the open session has. Content that it sent
// before stays as it is.
func InsertBlobs(ctx context.Context, tx database.Tx, id string, blobs []Blob) error {
	rows := make([][]any, len(blobs))
	for i, b := range blobs {
		rows[i] = []any{id, b.Digests.SHA256.Bytes(), b.Digests.BLAKE3.Bytes(), b.Size, b.Source}
	}
	_, err := database.InsertRows(ctx, tx, "upload_blobs", []string{"upload_id", "sha256", "blake3", "size", "source"}, rows,
		`ON CONFLICT (upload_id, sha256) DO UPDATE SET source = excluded.source WHERE upload_blobs.source <> 'sent'`)
	return err
}

const fileColumns = `f.path, f.size, f.sha256, f.blake3, f.executable, f.media_type`

func scanFile(row interface{ Scan(...any) error }) (File, error) {
	var (
		f          File
		sha, b3    []byte
		executable int
	)
	if err := row.Scan(&f.Path, &f.Size, &sha, &b3, &executable, &f.MediaType); err != nil {
		return f, err
	}
	f.Executable = executable != 0
	var err error
	f.Digests, err = bothNullable(sha, b3)
	return f, err
}

// GetFile returns one declared file; ErrNotFound.
func GetFile(ctx context.Context, tx database.Tx, id, path string) (File, error) {
	f, err := scanFile(tx.QueryRowContext(ctx, `SELECT `+fileColumns+` FROM upload_files f WHERE upload_id = $1 AND path = $2`, id, path))
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	return f, err
}

// GetFiles returns those of the paths that are declared, by path. At most
// MaxGetFiles paths.
func GetFiles(ctx context.Context, tx database.Tx, id string, paths []string) (map[string]File, error) {
	// Always the same number of parameters, so that the statement is parsed once.
	args := make([]any, 1, 1+MaxGetFiles)
	args[0] = id
	for i := range MaxGetFiles {
		args = append(args, paths[min(i, len(paths)-1)])
	}
	rows, err := tx.QueryContext(ctx, getFiles, args...)
	if err != nil {
		return nil, err
	}
	list, err := scanFiles(rows)
	files := make(map[string]File, len(list))
	for _, f := range list {
		files[f.Path] = f
	}
	return files, err
}

// MaxGetFiles is how many files GetFiles returns at most.
const MaxGetFiles = 128

var getFiles = `SELECT ` + fileColumns + ` FROM upload_files f WHERE upload_id = $1 AND path IN (` + database.Parameters(2, MaxGetFiles) + `)`

// Weigh returns how many files are declared, and how many bytes their texts have.
func Weigh(ctx context.Context, tx database.Tx, id string) (files int, texts int64, err error) {
	err = tx.QueryRowContext(ctx, `SELECT COUNT(*), COALESCE(SUM(octet_length(path) + octet_length(media_type)), 0) FROM upload_files WHERE upload_id = $1`, id).Scan(&files, &texts)
	return files, texts, err
}

// EachFile calls each for all declared files, in no order, with the content that
// the session has of it, nil if none.
func EachFile(ctx context.Context, tx database.Tx, id string, each func(f File, content *Blob) error) error {
	rows, err := tx.QueryContext(ctx, `SELECT `+fileColumns+`, b.blake3, b.size, b.source FROM upload_files f
		LEFT JOIN upload_blobs b ON b.upload_id = f.upload_id AND b.sha256 = f.sha256 WHERE f.upload_id = $1`, id)
	if err != nil {
		return err
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	for rows.Next() {
		var (
			b3     []byte
			size   sql.NullInt64
			source sql.NullString
		)
		f, err := scanFile(scanner(func(into ...any) error { return rows.Scan(append(into, &b3, &size, &source)...) }))
		if err != nil {
			return err
		}
		var content *Blob
		if size.Valid {
			content = &Blob{Digests: digest.Dual{SHA256: f.Digests.SHA256}, Size: size.Int64, Source: source.String}
			if content.Digests.BLAKE3, err = fromNullable(digest.BLAKE3, b3); err != nil {
				return err
			}
		}
		if err := each(f, content); err != nil {
			return err
		}
	}
	return rows.Err()
}

type scanner func(into ...any) error

func (s scanner) Scan(into ...any) error { return s(into...) }

// FindPaths returns the first declared paths that have one of the contents, at
// most limit. There may be 100,000 of either.
func FindPaths(ctx context.Context, tx database.Tx, id string, contents []digest.Digest, limit int) ([]string, error) {
	among := make(map[string]bool, len(contents))
	for _, content := range contents {
		among[string(content.Bytes())] = true
	}
	rows, err := tx.QueryContext(ctx, `SELECT path, sha256 FROM upload_files WHERE upload_id = $1 AND sha256 IS NOT NULL ORDER BY path`, id)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var paths []string
	for len(paths) < limit && rows.Next() {
		var (
			path string
			sum  []byte
		)
		if err := rows.Scan(&path, &sum); err != nil {
			return nil, err
		}
		if among[string(sum)] {
			paths = append(paths, path)
		}
	}
	return paths, rows.Err()
}

func scanFiles(rows *sql.Rows) ([]File, error) {
	defer rows.Close() //nolint:errcheck // rows.Err tells
	var files []File
	for rows.Next() {
		f, err := scanFile(rows)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, rows.Err()
}

// FindFolded returns the session's files whose folded path is one of these, by
// folded path.
func FindFolded(ctx context.Context, tx database.Tx, id string, folded []string) (map[string]File, error) {
	found := make(map[string]File)
	for chunk := range slices.Chunk(folded, chunkSize) {
		args := []any{id}
		for _, path := range chunk {
			args = append(args, path)
		}
		rows, err := tx.QueryContext(ctx, `SELECT `+fileColumns+` FROM upload_files f WHERE upload_id = $1 AND folded IN (`+database.Parameters(2, len(chunk))+`)`, args...)
		if err != nil {
			return nil, err
		}
		files, err := scanFiles(rows)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			found[manifest.FoldPath(f.Path)] = f
		}
	}
	return found, nil
}

// HasContents returns which of the contents the session has.
func HasContents(ctx context.Context, tx database.Tx, id string, contents []digest.Digest) (map[digest.Digest]bool, error) {
	has := make(map[digest.Digest]bool)
	for chunk := range slices.Chunk(contents, chunkSize) {
		args := []any{id}
		for _, d := range chunk {
			args = append(args, d.Bytes())
		}
		if err := addSums(ctx, tx, has, `SELECT sha256 FROM upload_blobs WHERE upload_id = $1 AND sha256 IN (`+database.Parameters(2, len(chunk))+`)`, args...); err != nil {
			return nil, err
		}
	}
	return has, nil
}

// chunkSize is how many values one IN list has at most.
const chunkSize = 500

// DropBlobs forgets reused content that is no longer there.
func DropBlobs(ctx context.Context, tx database.Tx, id string, gone []digest.Digest) error {
	for _, d := range gone {
		if _, err := tx.ExecContext(ctx, `DELETE FROM upload_blobs WHERE upload_id = $1 AND sha256 = $2 AND source <> 'sent'`, id, d.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// CountFiles returns how many files are declared.
func CountFiles(ctx context.Context, tx database.Tx, id string) (n int, err error) {
	err = tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM upload_files WHERE upload_id = $1`, id).Scan(&n)
	return n, err
}

// Count returns how many files are declared, and how many of them have no
// content yet.
func Count(ctx context.Context, tx database.Tx, id string) (files, missing int, err error) {
	err = tx.QueryRowContext(ctx, `SELECT COUNT(*), COUNT(*) - COUNT(b.sha256) FROM upload_files f
		LEFT JOIN upload_blobs b ON b.upload_id = f.upload_id AND b.sha256 = f.sha256 WHERE f.upload_id = $1`, id).Scan(&files, &missing)
	return files, missing, err
}
