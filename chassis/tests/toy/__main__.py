from chassis.command_line import main
from toy.app import ToySettings, build

main(ToySettings, build)
