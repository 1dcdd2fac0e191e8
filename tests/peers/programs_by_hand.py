"""Programs in PyTorch's words: gradients, updates and functions written out by hand."""

# ruff: noqa: B905, C408  (written as such programs are)

from __future__ import annotations

import math

from program_support import fill, integers, normal


def regression_by_hand(torch, nn, F):
    """Linear and logistic regression without modules or optimizers."""
    x, noise = normal(torch, 40, 3), normal(torch, 40, seed=1)
    y = x @ torch.tensor([1.0, -2.0, 0.5]) + 0.7 + 0.1 * noise
    w = torch.zeros(3, requires_grad=True)
    b = torch.zeros(1, requires_grad=True)
    lr, losses = 0.1, []
    for _ in range(5):
        loss = ((x @ w + b - y) ** 2).mean()
        loss.backward()
        with torch.no_grad():
            w -= lr * w.grad
            b -= lr * b.grad
            w.grad.zero_()
            b.grad = None
        losses.append(loss.item())
    labels = (y > 0).float().to(x.dtype)
    weights = [torch.zeros(3, 1).requires_grad_(), torch.zeros((), requires_grad=True)]
    for _ in range(5):
        p = 1 / (1 + torch.exp(-(torch.mm(x, weights[0]).squeeze() + weights[1])))
        loss = -(labels * torch.log(p) + (1 - labels) * torch.log(1 - p)).mean()
        for weight, grad in zip(weights, torch.autograd.grad(loss, weights)):
            weight.data.sub_(grad, alpha=lr)
        losses.append(loss.item())
    accuracy = ((p >= 0.5) == labels.bool()).sum() / len(labels)
    return losses, w, b, weights, accuracy, w.grad


def polynomial_by_hand(torch, nn, F):
    """The sine fitted by a cubic: the tutorial's five ways that need no network."""
    x = torch.linspace(-math.pi, math.pi, 200)
    y = torch.sin(x)
    a, b, c, d = (torch.full((), v, requires_grad=True) for v in (0.1, -0.2, 0.05, 0.3))

    class LegendrePolynomial3(torch.autograd.Function):
        @staticmethod
        def forward(ctx, input):
            ctx.save_for_backward(input)
            return 0.5 * (5 * input**3 - 3 * input)

        @staticmethod
        def backward(ctx, grad_output):
            (input,) = ctx.saved_tensors
            return grad_output * 1.5 * (5 * input**2 - 1)

    losses = []
    for _ in range(5):
        y_pred = a + b * LegendrePolynomial3.apply(c + d * x)
        loss = (y_pred - y).pow(2).sum()
        loss.backward()
        with torch.no_grad():
            for p in (a, b, c, d):
                p -= 5e-6 * p.grad
                p.grad = None
        losses.append(loss.item())
    xx = x.unsqueeze(-1).pow(torch.tensor([1, 2, 3]))
    model = fill(torch, torch.nn.Sequential(torch.nn.Linear(3, 1), torch.nn.Flatten(0, 1)))
    loss = torch.nn.MSELoss(reduction="sum")(model(xx), y)
    model.zero_grad()
    loss.backward()
    with torch.no_grad():
        for param in model.parameters():
            param -= 1e-6 * param.grad
    return losses, [a, b, c, d], f"{loss.item():.1e}", model[0].bias.item(), model[0].weight[:, 0].item()


def own_functions(torch, nn, F):
    """ReLU, a straight-through estimator and a gradient reversal as autograd.Function; quantised training."""

    class MyReLU(torch.autograd.Function):
        @staticmethod
        def forward(ctx, input):
            ctx.save_for_backward(input)
            return input.clamp(min=0)

        @staticmethod
        def backward(ctx, grad_output):
            (input,) = ctx.saved_tensors
            grad_input = grad_output.clone()
            grad_input[input < 0] = 0
            return grad_input

    class Binarize(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, scale):
            ctx.scale = scale
            return torch.sign(x) * scale

        @staticmethod
        def backward(ctx, grad):
            return (grad * ctx.scale).clamp(-1, 1), None

    class ReverseGradient(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, lambd):
            ctx.lambd = lambd
            return x.view_as(x)

        @staticmethod
        def backward(ctx, grad):
            return grad.neg() * ctx.lambd, None

    x, y = normal(torch, 8, 5), integers(torch, 3, 8)
    w1 = normal(torch, 5, 6, seed=1).requires_grad_()
    w2 = normal(torch, 6, 3, seed=2).requires_grad_()
    hidden = MyReLU.apply(x.mm(w1))
    rounded = hidden + (hidden.round() - hidden).detach()
    logits = rounded.mm(Binarize.apply(w2, 0.5))
    domain = ReverseGradient.apply(hidden, 0.3).sum(1)
    loss = F.cross_entropy(logits, y) + F.binary_cross_entropy_with_logits(domain, (y > 0).to(x.dtype))
    loss.backward()
    numerical = torch.autograd.gradcheck(lambda t: torch.tanh(t).sum(), normal(torch, 3).double().requires_grad_())
    return loss, logits, w1.grad, w2.grad, numerical


def maml(torch, nn, F):
    """An inner step on functional parameters, differentiated through; implicit state in a dictionary."""
    params = {
        "w1": normal(torch, 6, 1, seed=1).mul(0.5).requires_grad_(),
        "b1": torch.zeros(6, requires_grad=True),
        "w2": normal(torch, 1, 6, seed=2).mul_(0.5).requires_grad_(),
        "b2": torch.zeros(1, requires_grad=True),
    }

    def forward(x, params):
        x = F.linear(x, params["w1"], params["b1"])
        return F.linear(torch.tanh(x), params["w2"], params["b2"])

    optimizer = torch.optim.Adam(params.values(), lr=1e-2)
    losses = []
    for iteration in range(3):
        optimizer.zero_grad()
        meta_loss = 0.0
        for task in range(2):
            amplitude, phase = 1.0 + task, 0.5 * iteration
            support, query = normal(torch, 5, 1, seed=task), normal(torch, 5, 1, seed=task + 10)
            fast = dict(params)
            for _ in range(2):
                inner = F.mse_loss(forward(support, fast), amplitude * torch.sin(support + phase))
                grads = torch.autograd.grad(inner, tuple(fast.values()), create_graph=True)
                fast = {k: v - 0.1 * g for (k, v), g in zip(fast.items(), grads)}
            meta_loss = meta_loss + F.mse_loss(forward(query, fast), amplitude * torch.sin(query + phase))
        meta_loss.backward()
        optimizer.step()
        losses.append(meta_loss.item())
    model = fill(torch, nn.Linear(3, 2))
    x = normal(torch, 4, 3)
    functional = torch.func.functional_call(model, {k: v * 2 for k, v in model.named_parameters()}, (x,))
    return losses, list(params.values()), functional


def physics_informed(torch, nn, F):
    """An equation's residual by second derivatives of a network; a Hessian-vector product; a Jacobian."""
    net = fill(torch, nn.Sequential(nn.Linear(1, 10), nn.Tanh(), nn.Linear(10, 10), nn.Tanh(), nn.Linear(10, 1)))
    t = torch.linspace(0, 1, 12).view(-1, 1).requires_grad_(True)
    t0 = torch.tensor(0.0).view(-1, 1)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        u = net(t)
        dudt = torch.autograd.grad(u, t, torch.ones_like(u), create_graph=True)[0]
        d2udt2 = torch.autograd.grad(dudt, t, torch.ones_like(dudt), create_graph=True)[0]
        residual = d2udt2 + 4 * dudt + 40 * u
        loss = 1e-2 * torch.mean(residual**2) + (torch.squeeze(net(t0)) - 1) ** 2
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    def rosenbrock(v):
        return ((1 - v[:-1]) ** 2 + 100 * (v[1:] - v[:-1] ** 2) ** 2).sum()

    point = torch.tensor([0.5, -0.3, 0.8], requires_grad=True)
    (gradient,) = torch.autograd.grad(rosenbrock(point), point, create_graph=True)
    (product,) = torch.autograd.grad(gradient @ torch.tensor([1.0, 2.0, 3.0]), point)
    hessian = torch.autograd.functional.hessian(rosenbrock, point.detach())
    jacobian = torch.autograd.functional.jacobian(lambda v: torch.stack((v.prod(), v.cumsum(0)[1])), point.detach())
    return losses, list(net.parameters()), product, hessian, jacobian


def own_optimizer(torch, nn, F):
    """Adam and sharpness-aware steps as subclasses of Optimizer; state kept by parameter; addcdiv_ and friends."""

    class MyAdam(torch.optim.Optimizer):
        def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8):
            super().__init__(params, dict(lr=lr, betas=betas, eps=eps))

        @torch.no_grad()
        def step(self, closure=None):
            loss = None
            if closure is not None:
                with torch.enable_grad():
                    loss = closure()
            for group in self.param_groups:
                beta1, beta2 = group["betas"]
                for p in group["params"]:
                    if p.grad is None:
                        continue
                    state = self.state[p]
                    if len(state) == 0:
                        state["step"] = 0
                        state["exp_avg"] = torch.zeros_like(p)
                        state["exp_avg_sq"] = torch.zeros_like(p, memory_format=torch.preserve_format)
                    state["step"] += 1
                    exp_avg, exp_avg_sq = state["exp_avg"], state["exp_avg_sq"]
                    exp_avg.mul_(beta1).add_(p.grad, alpha=1 - beta1)
                    exp_avg_sq.mul_(beta2).addcmul_(p.grad, p.grad, value=1 - beta2)
                    denom = (exp_avg_sq / (1 - beta2 ** state["step"])).sqrt_().add_(group["eps"])
                    p.addcdiv_(exp_avg, denom, value=-group["lr"] / (1 - beta1 ** state["step"]))
            return loss

    model = fill(torch, nn.Sequential(nn.Linear(4, 6), nn.ELU(), nn.Linear(6, 2)))
    x, y = normal(torch, 9, 4), normal(torch, 9, 2, seed=1)
    optimizer = MyAdam(model.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.9)
    losses = []

    def closure():
        optimizer.zero_grad()
        loss = F.huber_loss(model(x), y)
        loss.backward()
        return loss

    for _ in range(4):
        losses.append(optimizer.step(closure).item())
        scheduler.step()
    state = optimizer.state_dict()
    flat = torch.nn.utils.parameters_to_vector(model.parameters())
    gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
    return losses, sorted(state), state["param_groups"][0]["lr"], flat, gradient, gradient.norm(p=1)


def tensors_in_general(torch, nn, F):
    """The tour of a first tutorial: making, asking, indexing, joining, reducing, printing in f-strings."""
    a = torch.tensor([[1, 2, 3], [4, 5, 6]])
    b = torch.ones_like(a, dtype=torch.get_default_dtype()) * torch.pi
    c = torch.cat([a, b.to(a.dtype)], dim=0)
    grid = torch.meshgrid(torch.arange(2), torch.arange(3), indexing="ij")
    row = b[0, :2]
    row.add_(1.0)
    x = torch.where(b > 4, b, torch.zeros(()))
    values, counts = torch.unique(torch.Tensor([3, 1, 3, 2, 1]).to(b.dtype), return_counts=True)
    answers = [
        *(tuple(a.shape), a.size(), a.size(-1), a.numel(), a.dim(), a.ndim, len(a), a.stride(), a.T.is_contiguous()),
        *(torch.is_tensor(a), torch.numel(b), b.is_floating_point(), a.device.type, b.is_cuda, b.requires_grad),
        *(a.tolist(), a[0, 1].item(), int(a.max()), float(b.min()), bool((a > 0).all()), a.sum().item() in (21, 22)),
        *(math.isinf(torch.inf), math.isnan(torch.nan), str(a.device), isinstance(a.shape, torch.Size)),
        *(f"{b.mean():.3f}", f"{a[1, 2]}", f"{b[0, 0]:6.2f}", a.shape == torch.Size([2, 3])),
    ]
    logic = [
        torch.isin(a, torch.tensor([2, 6])),
        torch.logical_and(a > 1, a < 6) | a.eq(6),
        torch.any(a > 5, dim=1),
        torch.nonzero(a > 3),
        (a % 2 == 0).nonzero(as_tuple=True)[1],
        torch.searchsorted(torch.tensor([1, 3, 5]), a),
        torch.bucketize(b, torch.tensor([1.0, 4.0])),
    ]
    numbers = [
        *(torch.clip(b, 2, 4), torch.multiply(a, 2), torch.absolute(-b), torch.divide(a, 2), b.clamp_min(4)),
        *(torch.addcmul(b, b, b, value=0.5), torch.logaddexp(b, -b), torch.hypot(b, b), torch.lerp(b, 2 * b, 0.3)),
        *(torch.nan_to_num(torch.tensor([torch.nan, torch.inf, 1.0])), torch.cumsum(b, 1), torch.diff(b), b.cov()),
        *(torch.linalg.norm(b), torch.std_mean(b, dim=1), torch.var_mean(b), torch.quantile(b, 0.4), b.median()),
        *(torch.cross(b, x, dim=1), torch.outer(b[0], b[1]), torch.tril(b), torch.histc(b, bins=4, min=0, max=8)),
        *(torch.stack([b, x], -1).amax(0), torch.einsum("ij,kj->ik", b, b), torch.triu_indices(3, 3), b.logit(1e-3)),
        *(torch.atleast_2d(b[0]), torch.block_diag(b, b), torch.cartesian_prod(a[0], a[1])),
        *(b.unsqueeze(0).repeat(2, 1, 1).movedim(0, -1), b.index_select(1, torch.tensor([2, 0])), b.unfold(1, 2, 1)),
        *(
            torch.full_like(b, 2).masked_fill_(x > 0, 0),
            b.view(3, 2).sum(dim=(0, 1), keepdim=True),
            b.double(),
            b.half(),
        ),
        *(torch.zeros(4).index_add_(0, torch.tensor([0, 0, 3]), torch.ones(3)), b.aminmax(), torch.dist(b, x, 2)),
    ]
    return answers, c, grid, b, x, values, counts, logic, numbers
