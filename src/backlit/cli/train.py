import click
@click.command()
def train(): pass
