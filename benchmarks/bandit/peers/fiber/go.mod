module peer

go 1.24

require (
	github.com/bytedance/sonic v1.15.5
	github.com/gofiber/fiber/v2 v2.52.15
)
