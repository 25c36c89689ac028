package node

import (
	"context"
	"errors"
	"log/slog"
	"syscall"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/providers/local"
)

// CheckStore opens the store of a data folder and closes it again. InUse means that another process has it open, and then the
// error says which.
func CheckStore(ctx context.Context, data string) (inUse bool, err error) {
	st, err := local.OpenStore(ctx, local.StoreOptions{Dir: StoreDir(data), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) && driver.CodeOf(err) == driver.Unavailable, err
	}
	return false, st.Close(ctx)
}
