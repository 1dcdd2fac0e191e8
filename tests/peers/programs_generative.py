"""Programs in PyTorch's words: generative and probabilistic models."""

from __future__ import annotations

import math

from program_support import fill, integers, normal


def vae(torch, nn, F):
    """Reparameterisation with a given noise, reconstruction and KL terms summed."""

    class VAE(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(12, 8)
            self.fc21 = nn.Linear(8, 2)
            self.fc22 = nn.Linear(8, 2)
            self.fc3 = nn.Linear(2, 8)
            self.fc4 = nn.Linear(8, 12)

        def encode(self, x):
            h1 = F.relu(self.fc1(x))
            return self.fc21(h1), self.fc22(h1)

        def reparameterize(self, mu, logvar, eps):
            std = torch.exp(0.5 * logvar)
            assert torch.randn_like(std).shape == std.shape
            return mu + eps * std

        def decode(self, z):
            return torch.sigmoid(self.fc4(F.relu(self.fc3(z))))

        def forward(self, x, eps):
            mu, logvar = self.encode(x.view(-1, 12))
            return self.decode(self.reparameterize(mu, logvar, eps)), mu, logvar

    model = fill(torch, VAE())
    x = torch.rand(0).new_tensor(torch.sigmoid(normal(torch, 5, 3, 4)).tolist())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for step in range(4):
        recon, mu, logvar = model(x, normal(torch, 5, 2, seed=step))
        bce = F.binary_cross_entropy(recon, x.view(-1, 12), reduction="sum")
        kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        loss = bce + kld
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append([loss.item(), kld.item() / len(x)])
    return losses, list(model.parameters())


def gan(torch, nn, F):
    """Two networks, two optimizers, detach, labels by fill_, weights by apply."""

    def weights_init(m):
        classname = m.__class__.__name__
        if classname.find("Linear") != -1:
            nn.init.normal_(m.weight.data, 0.0, 0.02)
            nn.init.constant_(m.bias.data, 0)

    generator = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(True), nn.Linear(8, 2), nn.Tanh())
    discriminator = nn.Sequential(nn.Linear(2, 8), nn.LeakyReLU(0.2, inplace=True), nn.Linear(8, 1), nn.Sigmoid())
    generator.apply(weights_init)
    fill(torch, generator, 1), fill(torch, discriminator, 2)
    criterion = nn.BCELoss()
    optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=2e-2, betas=(0.5, 0.999))
    optimizer_g = torch.optim.Adam(generator.parameters(), lr=2e-2, betas=(0.5, 0.999))
    real_label, fake_label, history = 1.0, 0.0, []
    for step in range(4):
        discriminator.zero_grad()
        real = normal(torch, 6, 2, seed=step)
        label = torch.full((6,), real_label, dtype=torch.get_default_dtype(), device=real.device)
        err_real = criterion(discriminator(real).view(-1), label)
        err_real.backward()
        fake = generator(normal(torch, 6, 3, seed=step + 10))
        label.fill_(fake_label)
        output = discriminator(fake.detach()).view(-1)
        err_fake = criterion(output, label)
        err_fake.backward()
        d_fake = output.mean().item()
        optimizer_d.step()
        generator.zero_grad()
        label.fill_(real_label)
        err_g = criterion(discriminator(fake).view(-1), label)
        err_g.backward()
        optimizer_g.step()
        history.append([(err_real + err_fake).item(), err_g.item(), d_fake])
    return history, list(generator.parameters()), list(discriminator.parameters()), generator[1].running_var


def wgan_gradient_penalty(torch, nn, F):
    """The norm of the critic's gradient at points between real and fake ones, differentiated again."""
    critic = fill(
        torch, nn.Sequential(nn.Linear(3, 8), nn.LeakyReLU(0.2), nn.Linear(8, 8), nn.Softplus(), nn.Linear(8, 1))
    )
    optimizer = torch.optim.RMSprop(critic.parameters(), lr=5e-3)
    history = []
    for step in range(3):
        real, fake = normal(torch, 5, 3, seed=step), normal(torch, 5, 3, seed=step + 10)
        alpha = torch.sigmoid(normal(torch, 5, 1, seed=step + 20)).expand_as(real)
        mixed = (alpha * real + (1 - alpha) * fake).requires_grad_(True)
        scores = critic(mixed)
        gradients = torch.autograd.grad(
            outputs=scores,
            inputs=mixed,
            grad_outputs=torch.ones_like(scores),
            create_graph=True,
            retain_graph=True,
            only_inputs=True,
        )[0]
        penalty = ((gradients.view(gradients.size(0), -1).norm(2, dim=1) - 1) ** 2).mean()
        loss = critic(fake).mean() - critic(real).mean() + 10 * penalty
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append([loss.item(), penalty.item()])
        with torch.no_grad():
            for p in critic.parameters():
                p.clamp_(-0.5, 0.5)
    return history, list(critic.parameters())


def mixture_density(torch, nn, F):
    """A mixture of Gaussians predicted by a network: logsumexp, log_softmax, elu + 1."""

    class MDN(nn.Module):
        def __init__(self, hidden, k):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(1, hidden), nn.Tanh())
            self.pi, self.mu, self.sigma = (nn.Linear(hidden, k) for _ in range(3))

        def forward(self, x):
            h = self.body(x)
            return F.log_softmax(self.pi(h), dim=-1), self.mu(h), F.elu(self.sigma(h)) + 1 + 1e-5

    model = fill(torch, MDN(10, 3))
    y = torch.linspace(-2, 2, 20).unsqueeze(1)
    x = y + 0.5 * torch.sin(4 * y)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, amsgrad=True)
    losses = []
    for _ in range(4):
        log_pi, mu, sigma = model(x)
        log_prob = -0.5 * ((y - mu) / sigma) ** 2 - torch.log(sigma) - 0.5 * math.log(2 * torch.pi)
        loss = -torch.logsumexp(log_pi + log_prob, dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    variance = sigma.detach() ** 2
    nll = F.gaussian_nll_loss(mu[:, :1], y, variance[:, :1], full=True)
    same = nn.GaussianNLLLoss(full=True)(mu[:, :1], y, variance[:, :1])
    rates = F.poisson_nll_loss(mu, y.abs().round().expand_as(mu), log_input=True)
    return losses, nll, same, rates, list(model.parameters())


def matrix_factorisation(torch, nn, F):
    """Users times items plus biases, trained on known entries; RMSE, ranking by topk."""

    class MF(nn.Module):
        def __init__(self, users, items, k):
            super().__init__()
            self.user, self.item = nn.Embedding(users, k), nn.Embedding(items, k)
            self.user_bias, self.item_bias = nn.Embedding(users, 1), nn.Embedding(items, 1)
            self.mean = nn.Parameter(torch.zeros(1))

        def forward(self, u, i):
            dot = (self.user(u) * self.item(i)).sum(-1)
            return dot + self.user_bias(u).squeeze() + self.item_bias(i).squeeze() + self.mean

    model = fill(torch, MF(6, 5, 3))
    users, items = integers(torch, 6, 30), integers(torch, 5, 30, seed=1)
    ratings = torch.clamp(normal(torch, 30) + 3, 1, 5)
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0, weight_decay=1e-3)
    curve = []
    for _ in range(4):
        loss = nn.MSELoss()(model(users, items), ratings)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        curve.append(loss.sqrt().item())
    scores = model.user.weight @ model.item.weight.T
    seen = torch.zeros(6, 5, dtype=torch.bool)
    seen[users, items] = True
    best = scores.masked_fill(seen, float("-inf")).sort(dim=1, descending=True)[1][:, 0]
    return curve, best, seen, torch.unique(items), [p.grad for p in model.parameters()]


def contrastive(torch, nn, F):
    """Two views of a batch: normalised embeddings, temperature, cross-entropy on the diagonal; triplet loss."""
    encoder = fill(torch, nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8, affine=False), nn.SiLU(), nn.Linear(8, 3)))
    scale = nn.Parameter(torch.ones([]) * math.log(1 / 0.07))
    x = normal(torch, 6, 4)
    a, b = (F.normalize(encoder(x + 0.1 * normal(torch, 6, 4, seed=s)), dim=-1) for s in (1, 2))
    logits = scale.exp() * a @ b.t()
    labels = torch.arange(logits.shape[0])
    loss = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.t(), labels)) / 2
    triplet = nn.TripletMarginLoss(margin=0.5)(a, b, b.roll(1, dims=0))
    cosine = F.cosine_embedding_loss(a, b, torch.tensor([1.0, -1.0] * 3), margin=0.2)
    (loss + triplet + cosine).backward()
    hot = torch.zeros_like(logits).scatter_(1, labels.unsqueeze(1), 1.0)
    return loss, triplet, cosine, hot, scale.grad, [p.grad for p in encoder.parameters()]


def diffusion(torch, nn, F):
    """A denoising diffusion step: schedules by cumprod, gathered coefficients, time embedding, averaged weights."""
    betas = torch.linspace(1e-4, 0.02, 10)
    alphas_bar = torch.cumprod(1.0 - betas, dim=0)
    previous = F.pad(alphas_bar[:-1], (1, 0), value=1.0)
    posterior = betas * (1.0 - previous) / (1.0 - alphas_bar)

    def extract(a, t, x_shape):
        out = a.gather(-1, t)
        return out.reshape(t.shape[0], *((1,) * (len(x_shape) - 1)))

    def time_embedding(t, dim):
        half = dim // 2
        emb = math.log(10000) / (half - 1)
        emb = torch.exp(torch.arange(half, device=t.device) * -emb)
        emb = t[:, None] * emb[None, :]
        return torch.cat((emb.sin(), emb.cos()), dim=-1)

    class Denoiser(nn.Module):
        def __init__(self):
            super().__init__()
            self.time = nn.Sequential(nn.Linear(6, 4), nn.SiLU())
            self.down = nn.Conv1d(1, 4, 3, padding=1)
            self.norm = nn.GroupNorm(2, 4)
            self.up = nn.Conv1d(4, 1, 3, padding=1)

        def forward(self, x, t):
            h = self.norm(self.down(x)) + self.time(time_embedding(t, 6))[..., None]
            return self.up(F.silu(h))

    model = fill(torch, Denoiser())
    averaged = {k: v.clone() for k, v in model.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    warmup = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min((s + 1) / 3, 1.0))
    losses = []
    for step in range(4):
        x0, noise, t = normal(torch, 4, 1, 8), normal(torch, 4, 1, 8, seed=step + 5), integers(torch, 10, 4, seed=step)
        bar = extract(alphas_bar, t, x0.shape)
        loss = F.smooth_l1_loss(model(bar.sqrt() * x0 + (1 - bar).sqrt() * noise, t), noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        warmup.step()
        with torch.no_grad():
            for k, v in model.state_dict().items():
                averaged[k].mul_(0.9).add_(v, alpha=0.1)
        losses.append(loss.item())
    return posterior, losses, list(averaged.values())
